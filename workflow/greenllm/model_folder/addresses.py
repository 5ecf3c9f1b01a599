"""What `model.init` names: an OpenAI endpoint's address, a package, or what resembles one but is none."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

EXAMPLE = "http://127.0.0.1:8000/v1"
PACKAGE = "package:"  # before the name of a Python package that ships weights
HUB = {"huggingface.co", "www.huggingface.co", "hf.co"}
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# http:/host, http:host, https//host, http/host
BROKEN_SCHEME = re.compile(r"(https?)(?::/{0,2}|/{1,2})", re.IGNORECASE)
# A host with a port, or with what only hosts have: brackets (IPv6), a user, www, a dot where an owner has none.
HOST = re.compile(
    r"([^/\s]+:\d+|\[[0-9a-f:.]+\](:\d+)?|localhost|[^/\s]*@[^/\s]+|www\.[^/\s]+)(/|$)|[\w-]+(\.[\w-]+)+/",
    re.IGNORECASE,
)
NO_ID = re.compile(r"[:\\\s]|^[^/]+\.[a-z]{2,}$", re.IGNORECASE)  # also a host's or a file's name alone


def is_endpoint(address: str) -> bool:
    """Say whether `model.init` is the address of an OpenAI endpoint."""
    return address.lower().startswith(("http://", "https://"))


def is_packaged(init: str) -> bool:
    """Say whether `model.init` names a Python package that ships weights."""
    return init.startswith(PACKAGE)


def with_version(url: str) -> str:
    """Return an address with the interface's version: `http://host:8000` becomes `http://host:8000/v1`."""
    url = urlsplit(url.rstrip("/")).geturl()  # the scheme in small letters
    return url if urlsplit(url).path else f"{url}/v1"


def address_problem(address: str) -> str | None:
    """Return why `address` can't be an OpenAI endpoint's, and what is expected; None where it can.

    A password in it is not repeated.
    """
    if address != address.strip():
        return f"white space around {_shown(address.strip())}; leave it out"
    if not is_endpoint(address):
        return model_problem(address) or f"{address!r} is no address; expected one such as {EXAMPLE}"
    if "@" in address:
        return (
            f"{_shown(address)} has a user's name or a password in it; leave it out: the environment variable of a key "
            "is named by model.key_variable (greenllm load: --key-variable)"
        )
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        return f"{address!r} is no address ({error}); expected one such as {EXAMPLE}"
    return _parts_problem(address, parts)


def model_problem(text: str) -> str | None:
    """Return why `text`, which is no folder, can name no model: no endpoint's address, no id at the Hugging Face hub.

    None where it can. An id is OWNER/NAME or NAME, of letters, digits, -, _ and dots.
    A password in `text` is not repeated.
    """
    if text != text.strip():
        return f"white space around {_shown(text.strip())}; leave it out"
    if is_endpoint(text):
        return address_problem(text)
    if scheme := SCHEME.match(text):
        rest = text[scheme.end() :]
        if scheme[1].lower() == "hf":
            return f"{text!r}: models of the Hugging Face hub are named by their id: {rest.strip('/')}"
        if scheme[1].lower() == "file":
            return f"{text!r}: folders are named by their path: {rest}"
        return f"{scheme[0]}… is no address of an OpenAI endpoint; expected http:// or https://, such as {EXAMPLE}"
    if broken := BROKEN_SCHEME.match(text):
        whole = f"{broken[1].lower()}://{text[broken.end() :]}"
        return f"{_shown(text)} is no whole address; expected {_shown(whole)}"
    if text.partition("/")[0].lower() in HUB:
        return _hub_problem(text, text)
    if HOST.match(text) or _is_ip(text.partition("/")[0]):
        whole = f"http://[{text}]" if text.startswith(":") else f"http://{text}"
        return f"{_shown(text)} is an address without its scheme; expected {_shown(whole)}"
    if NO_ID.search(text):
        return f"{text!r} is no folder here, no hub id (OWNER/NAME) and no address such as {EXAMPLE}"
    return None


def _parts_problem(address: str, parts: SplitResult) -> str | None:
    if not parts.hostname or re.search(r"[\s\\]", address):
        return f"{address!r} is no address; expected one such as {EXAMPLE}"
    if found := re.search(r"[?#].*", address):  # a key may be in it, which is not repeated
        alone = address[: -len(found[0])]
        return f"'{alone}{found[0][0]}…' has a query; expected the address alone: {alone}"
    if parts.hostname in HUB:
        return _hub_problem(address, f"{parts.hostname}{parts.path}")
    if found := re.search(r"/(chat/completions|completions|models)/*$", parts.path):
        return f"{address!r} is the address of one request; expected {address[: -len(found[0])]}"
    return None


def _hub_problem(address: str, path: str) -> str:
    """Return that a page of the hub is no endpoint; `path` begins with the host."""
    owner_and_name = re.match(r"[^/]+/(?!datasets/|spaces/|docs/|models/?$)([\w.-]+/[\w.-]+)", path)
    id = owner_and_name[1] if owner_and_name else "OWNER/NAME"
    return f"{address!r} is a page of the Hugging Face hub, no endpoint; expected the id: {id}"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shown(address: str) -> str:
    """Return an address without the user's name and the password in it."""
    return repr(re.sub(r"^((https?)?:?/*).*@", r"\1…@", address, flags=re.IGNORECASE))
