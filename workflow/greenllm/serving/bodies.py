"""Request bodies: JSON as RFC 8259 defines it, or a refusal with the reason."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TypeVar

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from greenllm.serving.limits import read_within
from greenllm.serving.refusals import Refused

SCHEMAS = "#/components/schemas/{model}"

Body = TypeVar("Body", bound=BaseModel)


async def read_body(http: HttpRequest, kind: type[Body], most_bytes: int) -> Body:
    """Return the body of a request; raise `Refused` if it is too large or not of that kind."""
    body = await read_within(http, most_bytes)
    form = http.headers.get("content-type", "")
    if not re.fullmatch(r"application/(.+\+)?json", form.partition(";")[0].strip(), re.IGNORECASE):
        raise Refused(
            415,
            f"the request's Content-Type is {form or 'missing'}; expected application/json "
            "(with curl: -H 'Content-Type: application/json')",
        )
    value = _parsed(body)
    for path, text in _texts(value):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _invalid(path, "half of a surrogate pair is not a character; expected text that is valid Unicode")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        # For a field of several types, pydantic adds the type that it tried to the path, as if it were a key.
        key = [part for part in first["loc"] if part != "str" and not str(part).startswith("list[")]
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "is not known to this server; leave it out"
        elif not key:
            message = 'is not a JSON object; expected one such as {"prompt": "…"}'
        raise _invalid(key, message) from None


def body_of(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the documentation of a request with such a body, for OpenAPI; see `describe`."""
    schema = {"$ref": SCHEMAS.format(model=kind.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, *kinds: type[BaseModel]) -> None:
    """Add the schemas of these bodies to an application's documentation (/openapi.json)."""
    _, schema = models_json_schema([(kind, "validation") for kind in kinds], ref_template=SCHEMAS)
    without = app.openapi

    def openapi() -> dict[str, Any]:
        document = without()
        document.setdefault("components", {}).setdefault("schemas", {}).update(schema["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to extend it


def _parsed(body: bytes) -> object:
    if not body.strip():
        raise Refused(400, "the body is empty; expected a JSON object")
    try:
        return json.loads(body.decode(), parse_constant=_no_number, object_pairs_hook=_object)
    except KeyError as error:
        raise Refused(422, f"{error.args[0]}: appears twice; send it once", param=str(error.args[0])) from None
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise Refused(400, "the body is nested too deeply") from None
    except ValueError as error:  # not JSON, or an integer of thousands of digits
        raise Refused(400, f"the body is not valid JSON: {str(error)[:200]}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of the body; raise KeyError if a key appears twice."""
    value: dict[str, Any] = {}
    for key, one in pairs:
        if key in value:
            raise KeyError(key[:60].encode(errors="replace").decode())
        value[key] = one
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _texts(value: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every string in a JSON value, keys too, with its path."""
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), value)]
    while waiting:
        path, one = waiting.pop()
        if isinstance(one, str):
            yield path, one
        elif isinstance(one, list):
            waiting += [((*path, number), item) for number, item in enumerate(one)]
        elif isinstance(one, dict):
            yield from ((path, key) for key in one)
            waiting += [((*path, key), item) for key, item in one.items()]


def _invalid(path: Sequence[str | int], message: str) -> Refused:
    key = ".".join(map(str, path)) or None
    return Refused(422, f"{key or 'body'}: {message}", param=key)
