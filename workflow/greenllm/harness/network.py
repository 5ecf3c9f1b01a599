"""Tasks' data without a network: the cache is read at once, where `datasets` would retry for half a minute."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def only_the_cache_without_network() -> Iterator[None]:
    """Read data sets from the local cache alone if the Hugging Face hub can't be reached."""
    import datasets
    import httpx2  # huggingface_hub's HTTP client
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    try:
        get_session().head(constants.ENDPOINT, timeout=20)
    except (ConnectionError, httpx2.TransportError, OfflineModeIsEnabled):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
