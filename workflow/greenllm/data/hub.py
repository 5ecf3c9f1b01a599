"""Errors of the Hugging Face hub in one line, and licences, for data sets and models."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from greenllm.errors import UserError, reason


@contextlib.contextmanager
def one_line_errors(kind: str, id: str, revision: str | None) -> Iterator[None]:
    """Turn errors of the hub about `id`, a `kind` (`data set` or `model`), into UserErrors."""
    import httpx2  # huggingface_hub's HTTP client
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
        raise UserError(f"{at}: request access on the hub, then set HF_TOKEN") from None
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
    """Return the licence in a repository's card, or None."""
    named = card.license if card else None
    return ", ".join(named) if isinstance(named, list) else named
