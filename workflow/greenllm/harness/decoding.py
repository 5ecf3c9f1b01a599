"""How the engines decode the answers of a task that generates: its `generation_kwargs`."""

from typing import Any

from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from greenllm.engines.decoding_choice import Decoding
from greenllm.errors import UserError, reason

MOST_GENERATED = 256  # tokens, where a task says nothing: lm_eval's default


def decoding_of(options: dict[str, Any], end: str | None) -> tuple[Decoding, int]:
    """Return how an answer is decoded, and its largest length in tokens; `end` is the end token as text.

    Raises UserError if the engines can't decode so.
    """
    try:
        given: dict[str, Any] = dict(normalize_gen_kwargs(options, MOST_GENERATED))
        limit, sampled = int(given.pop("max_gen_toks")), bool(given.pop("do_sample", False))
        stop = tuple(filter(None, handle_stop_sequences(given.pop("until", None), eos=end)))
        temperature, top_p = float(given.pop("temperature", 1.0)), float(given.pop("top_p", 1.0))
    except (TypeError, ValueError) as error:
        raise UserError(f"generation_kwargs: {reason(error)}") from None
    if unknown := [name for name, value in given.items() if value is not None]:
        raise UserError(
            f"generation_kwargs: {', '.join(unknown)}: the engines do not have it; expected until, max_gen_toks, "
            "do_sample, temperature, top_p"
        )
    if limit < 1 or not all(isinstance(one, str) for one in stop):
        raise UserError("generation_kwargs: expected max_gen_toks of at least 1, and texts in until")
    if not sampled:
        return Decoding(stop=stop), limit
    if not 0 < temperature <= 2 or not 0 < top_p <= 1:
        raise UserError(
            f"generation_kwargs: do_sample with temperature {temperature:g} and top_p {top_p:g}; expected a "
            "temperature above 0 and up to 2, and a top_p above 0 and up to 1"
        )
    return Decoding(temperature=temperature, top_p=top_p, stop=stop), limit
