"""How an engine answers the examples, how likely it finds their texts, and how many operations that takes."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from greenllm.data.prompt_lengths import require_shorter
from greenllm.documents.prediction import Example
from greenllm.engines import Completion, ContinuationLikelihood, Engine, Likelihood, PromptError, ScoresTexts
from greenllm.engines.decoding_choice import Decoding
from greenllm.engines.finite import require_finite
from greenllm.errors import UserError
from greenllm.evaluation.examples import engine_prompt
from greenllm.model_folder.manifest import FILE, read_manifest

Item = TypeVar("Item")
Result = TypeVar("Result")


def answer(
    engine: Engine,
    examples: Sequence[Example],
    decodings: Sequence[Decoding],
    *,
    batch: int,
    max_tokens: int,
    source: Path,
) -> list[Completion]:
    """Return the engine's answers to the examples of the file `source`, in their order, with confidences.

    Each is decoded as its own one of `decodings` says.
    Raises UserError if a prompt leaves no room for an answer in the model's context.
    """
    prompts = [engine_prompt(example) for example in examples]
    lengths = [engine.count_tokens(prompt) for prompt in prompts]
    require_shorter(lengths, [example.id for example in examples], engine.context, str(source))
    with tqdm(total=len(prompts), unit="row", mininterval=5) as progress:

        def generate(some: list[tuple[str, Decoding]]) -> list[Completion]:
            some_prompts, some_decodings = zip(*some, strict=True)
            completions = engine.generate(some_prompts, max_tokens, confidence=True, decodings=some_decodings)
            progress.update(len(some))
            return completions

        return _longest_first(list(zip(prompts, decodings, strict=True)), lengths, batch, generate)


def likelihoods(
    engine: Engine, examples: Sequence[Example], texts: Sequence[str], *, batch: int, source: Path
) -> list[Likelihood]:
    """Return the likelihood of each example's whole text; the examples are from the file `source`.

    Raises UserError if the engine computes none, there is nothing to score, or a likelihood is not finite.
    """
    if not isinstance(engine, ScoresTexts):
        raise UserError(
            f"the engine {engine.name} cannot compute the likelihood of a given text; evaluate another task on it"
        )
    found = _longest_first(texts, [len(text) for text in texts], batch, engine.score)
    if not any(likelihood.tokens for likelihood in found):
        raise UserError(f"{source}: no text of two tokens or more; expected texts that a model can continue")
    require_finite([one.nats for one in found], _rows(examples), f"texts of {source}")
    return found


def choice_likelihoods(
    engine: Engine, examples: Sequence[Example], *, batch: int, source: Path
) -> list[list[ContinuationLikelihood]]:
    """Return the likelihood of each choice of each example after its prompt, `batch` choices at a time.

    Raises UserError if the engine computes none, an example of the file `source` has no choices or one that can't be
    scored, or a likelihood is not finite.
    """
    if not isinstance(engine, ScoresTexts):
        raise UserError(
            f"the engine {engine.name} cannot compute the likelihood of a given answer; evaluate another task on it"
        )
    if any(example.choices is None for example in examples):
        raise UserError(f"{source}: it has no choices; expected data prepared for a task with choices")
    found: list[ContinuationLikelihood] = []
    pairs = [(example, choice) for example in examples for choice in example.choices or ()]
    with tqdm(total=len(pairs), unit="choice", mininterval=5) as progress:
        for start in range(0, len(pairs), batch):
            some = pairs[start : start + batch]
            try:
                found += engine.loglikelihoods([(engine_prompt(example), choice) for example, choice in some])
            except PromptError:
                _require_scorable(engine, some, source)
                raise
            progress.update(len(some))
    require_finite([one.nats for one in found], _rows([example for example, _ in pairs]), f"choices of {source}")
    return list(_divided(found, [len(example.choices or ()) for example in examples]))


def flops_of(model: Path, completions: Sequence[Completion], passes: Sequence[int]) -> float | None:
    """Return the operations of all answers and of further `passes` (their lengths in tokens); None if unknown.

    The key-value cache avoids that earlier tokens are computed again, so an answer takes one pass.
    """
    if (model / FILE).is_file():
        flops = read_manifest(model).forward_flops
    else:
        from greenllm.model_folder.inspection import read_config, try_to_count

        counted = try_to_count(read_config(model))
        flops = counted.forward if counted else None
    if flops is None:
        return None
    # The last token of an answer is not read.
    read = [completion.prompt_tokens + completion.tokens - 1 for completion in completions]
    return sum(map(flops.of, [*read, *passes]))


def _rows(examples: Sequence[Example]) -> list[str]:
    return [f"row {example.id}" for example in examples]


def _require_scorable(engine: ScoresTexts, pairs: Sequence[tuple[Example, str]], source: Path) -> None:
    """Raise UserError, which names the row, for the first choice that the engine can't score."""
    for example, choice in pairs:
        try:
            engine.loglikelihoods([(engine_prompt(example), choice)])
        except PromptError as error:
            raise UserError(f"{source}: row {example.id}: {error}") from None


def _divided(found: Sequence[Result], counts: Sequence[int]) -> Iterator[list[Result]]:
    """Yield consecutive parts of these lengths."""
    rest = iter(found)
    for count in counts:
        yield list(itertools.islice(rest, count))


def _longest_first(
    items: Sequence[Item], lengths: Sequence[int], batch: int, function: Callable[[list[Item]], list[Result]]
) -> list[Result]:
    """Apply a function to batches of items of similar length, so that they have little padding; keep the order."""
    order = sorted(range(len(items)), key=lambda index: -lengths[index])
    found: dict[int, Result] = {}
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        found |= zip(some, function([items[index] for index in some]), strict=True)
    return [found[index] for index in range(len(items))]
