"""The Hugging Face hub: its errors told in one line, for data sets and models alike."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from greenllm.errors import UserError, reason


@contextlib.contextmanager
def one_line_errors(kind: str, id: str, revision: str | None) -> Iterator[None]:
    """Turn what goes wrong with `kind` (`data set` or `model`) `id` at the hub into a UserError."""
    import httpx2  # what huggingface_hub speaks HTTP with
    from huggingface_hub import errors

    at = f"hub {kind} {id!r}" + (f" at revision {revision!r}" if revision else "")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        yield
    except UserError:
        raise
    except errors.RevisionNotFoundError:
        raise UserError(f"{at}: no such revision; expected a commit, tag or branch of it") from None
    except errors.GatedRepoError:
        raise UserError(f"{at}: access must be asked for on the hub; then set HF_TOKEN") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise UserError(
            f"{at}: {endpoint} has no such {kind}; expected OWNER/NAME (a private one needs HF_TOKEN)"
        ) from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError):
        raise UserError(
            f"{at}: not in the local cache, and the hub can't be reached or HF_HUB_OFFLINE is set"
        ) from None
    except (ConnectionError, httpx2.TransportError) as error:
        raise UserError(
            f"{at}: {endpoint} can't be reached ({reason(error)}); check the network and HTTPS_PROXY"
        ) from None
    except errors.HfHubHTTPError as error:
        raise UserError(f"{at}: {endpoint} answered with an error ({reason(error)})") from None


def licence(card: Any) -> str | None:
    """Return the licence that a repository's card names, where it names one."""
    named = card.license if card else None
    return ", ".join(named) if isinstance(named, list) else named
