"""Downloads that resume after an interruption and are refused if their SHA-256 differs."""

import sys
import time
from pathlib import Path

import httpx
from tqdm import tqdm

from greenllm.errors import UserError
from greenllm.files import sha256_of

ATTEMPTS = 4
PAUSE_S = 0.5  # before the second attempt; doubled before each further one
TIMEOUT_S = 30.0


def download(url: str, sha256: str, folder: Path) -> Path:
    """Download `url` into `folder` and return the file, which is named by its SHA-256.

    An interrupted download is kept as `.partial` and resumed, in this call or the next. Proxies come from the
    environment (such as HTTPS_PROXY). Raises UserError if the download fails, or if the file's SHA-256 differs; such
    a file is not kept.
    """
    path, partial = folder / sha256, folder / f"{sha256}.partial"
    if path.is_file() and sha256_of(path) == sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    resumed = partial.is_file() and partial.stat().st_size > 0
    _fetch(url, partial)
    found = sha256_of(partial)
    if found != sha256 and resumed:  # the file may have changed between the two parts
        partial.unlink()
        _fetch(url, partial)
        found = sha256_of(partial)
    if found != sha256:
        partial.unlink()
        raise UserError(
            f"{url}: its SHA-256 is {found}, expected {sha256}; the download was not kept. Correct the url or, "
            "if this newer file is wanted, its sha256"
        )
    partial.replace(path)
    return path


def _fetch(url: str, partial: Path) -> None:
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
            print(f"{url}: {problem}; trying again", file=sys.stderr)
        try:
            with httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client:
                _fetch_rest(client, url, partial)
            return
        except httpx.HTTPStatusError as error:
            problem = f"the server answered {error.response.status_code} {error.response.reason_phrase}"
            if error.response.status_code < 500:
                break
        except httpx.TransportError as error:
            problem = f"the connection failed ({str(error) or type(error).__name__})"
        except (httpx.InvalidURL, httpx.HTTPError) as error:
            problem = f"can't be fetched ({error})"
            break
    kept = partial.stat().st_size if partial.is_file() else 0
    raise UserError(f"{url}: {problem}" + (f"; {kept:,} bytes are kept and the next run resumes there" if kept else ""))


def _fetch_rest(client: httpx.Client, url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.is_file() else 0
    # Without `identity`, a range would count compressed bytes.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", url, headers=headers) as response:
        if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is left to fetch, or it is another file: the SHA-256 will show
        response.raise_for_status()
        resumed = have and response.status_code == httpx.codes.PARTIAL_CONTENT
        rest = int(response.headers.get("Content-Length", 0))
        with (
            partial.open("ab" if resumed else "wb") as file,
            tqdm(
                total=rest + (have if resumed else 0) or None,
                initial=have if resumed else 0,
                desc="download",
                unit="B",
                unit_scale=True,
                mininterval=5,
                delay=2,
            ) as bar,
        ):
            for chunk in response.iter_bytes():  # written as they arrive: an interruption loses nothing
                file.write(chunk)
                bar.update(len(chunk))
