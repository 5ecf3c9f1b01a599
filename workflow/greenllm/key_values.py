"""Options of the form KEY=VALUE that may be repeated."""

from collections.abc import Iterable

from greenllm.errors import UserError


def key_values(option: str, pairs: Iterable[str], form: str = "KEY=VALUE", *, empty: bool = False) -> dict[str, str]:
    """Return the pairs of an option, such as `--wildcard`; `form` names the two sides in messages.

    Raises UserError if a pair has no key, or no value (unless `empty` values are allowed), or a key is repeated.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and (value or empty)):
            raise UserError(f"{option} {pair!r}: expected {form}")
        if key in found:
            name = form.partition("=")[0].lower()
            raise UserError(f"{option} {pair!r}: {key} is {found[key]!r} already; expected each {name} once")
        found[key] = value
    return found
