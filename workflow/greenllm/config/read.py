"""From YAML or JSON to typed settings; each mistake becomes one line that names the key and what was expected."""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from greenllm.config.yaml_text import load_yaml
from greenllm.errors import UserError, listed, quoted
from greenllm.option_ranges import LARGEST_SEED

LARGEST = LARGEST_SEED  # larger values of other keys exceed any machine


class ConfigError(UserError):
    """All mistakes of a configuration: one line each in `problems`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML or JSON file; raise ConfigError if it can't be read."""
    try:
        return load_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; expected a YAML file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: can't be read ({error})"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: {_yaml_problem(error)}"]) from None


def read_settings(text: str, model: Any, *, option: str = "--settings") -> Any:
    """Return an instance of `model` from a command line's JSON or YAML text, or from the path of such a file.

    Raises `ConfigError`, whose lines name the file, or else the `option` that the text was given with.
    """
    if not text.lstrip().startswith("{") and Path(text).is_file():
        return validate(read_yaml(Path(text)), model, text)
    try:
        values = load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"{option}: {_yaml_problem(error)}"]) from None
    if isinstance(values, str):
        raise ConfigError([f"{option}: no file {text!r}; expected a YAML file, or settings such as {{key: value}}"])
    return validate({} if values is None else values, model, option)


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Return in which line a text is not valid YAML, or is refused by `load_yaml`, and why."""
    if isinstance(error, yaml.constructor.ConstructorError) and error.problem and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    text = " ".join(str(error).split())
    return f"not valid YAML or JSON ({text if len(text) <= 200 else text[:200] + '…'})"


def validate(values: Any, model: Any, source: str) -> Any:
    """Return `values` as `model` (any type pydantic knows); raise ConfigError, a line `source: key: …` per mistake."""
    if problems := [f"{source}: {problem}" for problem in _invalid_numbers(values, model)]:
        raise ConfigError(problems)
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        raise ConfigError([_line(details, model, source) for details in error.errors()]) from None
    except ConfigError as error:  # of a model that checks more than its keys
        raise ConfigError([f"{source}: {problem}" for problem in error.problems]) from None


def _invalid_numbers(values: Any, model: Any, location: tuple[int | str, ...] = ()) -> Iterator[str]:
    """Yield a line for each number that is too large, and for each true or false in place of a number.

    Pydantic would read true and false as 1 and 0.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _invalid_numbers(value, model, (*location, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _invalid_numbers(value, model, (*location, index))
    elif isinstance(values, int):
        kinds = _kinds(_follow(model, location))
        key = ".".join(map(str, location))
        if isinstance(values, bool) and kinds & {int, float} and not kinds & {bool, str}:
            yield f"{key}: expected a number, got {str(values).lower()}"
        elif int in kinds and float not in kinds and abs(values) > LARGEST:
            yield f"{key}: {values} is too large; expected at most {LARGEST}"


def _kinds(annotation: Any) -> set[Any]:
    """Return the plain types in an annotation, at any depth."""
    inner = typing.get_args(annotation)
    return {annotation} if not inner else set().union(*map(_kinds, inner))


def nearest(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean …?` if a known word is similar, else the list of known words."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {quoted(close[0])}?" if close else f"; known: {listed(known)}"


def _line(details: ErrorDetails, model: Any, source: str) -> str:
    location, kind, context = details["loc"], details["type"], details.get("ctx", {})
    keys = _known_keys(model, location[:-1]) if location else []
    # A discriminated union puts its tag (`embedded`, `file`, …) into the location: the user wrote no such key.
    parts = [str(part) for part in _without_tags(model, location) if part != "[key]"]
    key = ".".join(parts) or "(top level)"
    given = details["input"]
    match kind:
        case "extra_forbidden":
            message = f"unknown key{nearest(str(location[-1]), keys)}"
        case "missing":
            message = f"is missing{_expected(model, location)}"
        case "literal_error":
            choices = [choice.strip("'") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
            message = f"{given!r} is not one of the choices{nearest(str(given), choices)}"
        case "union_tag_invalid":
            choices = [choice.strip("'") for choice in str(context["expected_tags"]).split(", ")]
            key += ".source"
            message = f"{context['tag']!r} is not one of the choices{nearest(str(context['tag']), choices)}"
        case "union_tag_not_found":
            key += ".source"
            message = "is missing: expected embedded, file, url, hub or graph"
        case "string_pattern_mismatch":
            message = f"{_short(given)} is not valid: expected text that matches {context['pattern']}"
            message += _expected(model, location).replace(": expected", ",")
        case "string_type" if given is None:
            message = f"is empty{_expected(model, location)}"
        case "string_type" if isinstance(given, bool | int | float | date):
            message = f"expected text, but without quotes {given} is a {_yaml_kind(given)} to YAML; write it in quotes"
        case _:
            message = f"{details['msg'][0].lower()}{details['msg'][1:]}, got {_short(given)}"
    return f"{source}: {key}: {message}"


def _yaml_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth value"
    return "date" if isinstance(value, date) else "number"


def _expected(model: Any, location: Sequence[int | str]) -> str:
    """Return `: expected …`, the description of the key at `location`, where it has one."""
    for option in _options(_follow(model, location[:-1])):
        fields = option.model_fields if isinstance(option, type) and issubclass(option, BaseModel) else {}
        for name, field in fields.items():
            if location[-1] in (name, field.alias) and field.description:
                text = field.description.removesuffix(".")
                first = text[0] if text[1:2].isupper() else text[0].lower()
                return f": expected {first}{text[1:]}"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _without_tags(model: Any, location: Sequence[int | str]) -> list[int | str]:
    return [part for index, part in enumerate(location) if not _is_tag(model, location[:index], part)]


def _is_tag(model: Any, before: Sequence[int | str], part: int | str) -> bool:
    return _tagged(_follow(model, before), part) is not None


def _known_keys(model: Any, location: Sequence[int | str]) -> list[str]:
    return [
        field.alias or name
        for option in _options(_follow(model, location))
        if isinstance(option, type) and issubclass(option, BaseModel)
        for name, field in option.model_fields.items()
    ]


def _follow(annotation: Any, location: Sequence[int | str]) -> Any:
    """Return the type found at `location` below `annotation`."""
    for part in location:
        annotation = _step(_plain(annotation), part)
    return _plain(annotation)


def _step(annotation: Any, part: int | str) -> Any:
    if (member := _tagged(annotation, part)) is not None:
        return member
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            for name, field in option.model_fields.items():
                if part in (name, field.alias):
                    return field.annotation
        elif issubclass(typing.get_origin(option) or object, Mapping):
            return typing.get_args(option)[1]
        elif issubclass(typing.get_origin(option) or object, Sequence):
            return typing.get_args(option)[0]
    return None


def _tagged(annotation: Any, tag: int | str) -> Any:
    """Return the member of a union whose `source` is `tag`."""
    for option in _options(annotation):
        fields = option.model_fields if isinstance(option, type) and issubclass(option, BaseModel) else {}
        if "source" in fields and tag in typing.get_args(fields["source"].annotation):
            return option
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(_plain(option) for option in typing.get_args(annotation))
    return (annotation,)


def _plain(annotation: Any) -> Any:
    """Return the type itself without its `Annotated` wrapping."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation
