"""Engines: what turns prompts into answers. One protocol, one file an engine; model folders name theirs."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

from greenllm.errors import UserError
from greenllm.model_folder.manifest import Manifest, read_manifest

Device = Literal["auto", "cpu", "require"]
OnToken = Callable[[int, str], None]
Cancelled = Callable[[int], bool]


class PromptError(UserError):
    """A prompt that a model cannot answer."""


class PromptTooLong(PromptError):  # noqa: N818
    """A prompt that leaves no room for an answer in the model's context."""


class Prompt(str):
    """A prompt with its token ids, made by a chat template or by a client.

    Special tokens are in it by their ids, which no text has: the same text as a mere `str` would spell them.
    """

    ids: tuple[int, ...]

    def __new__(cls, text: str, ids: Iterable[int]) -> Self:
        """Join a text and its token ids, with those that the tokenizer itself puts around a text."""
        prompt = super().__new__(cls, text)
        prompt.ids = tuple(ids)
        return prompt


@dataclass(frozen=True)
class Completion:
    """One answer: its text, its length and its prompt's in tokens, and why it ended.

    `tokens` counts the end token where one was produced (`finish_reason` "stop"); "length" means that the
    limit asked for, or the model's context, was reached. `confidence` is the probability (0 to 1) that the model gives
    to all tokens of the answer, the end token among them: exp of the sum of their log p; None where not asked for.
    """

    text: str
    tokens: int
    prompt_tokens: int
    finish_reason: Literal["stop", "length"]
    confidence: float | None = None


@dataclass(frozen=True)
class Likelihood:
    """How likely a model finds a text: -log p of its scored tokens in all, and how much text these are."""

    nats: float
    tokens: int
    bytes: int
    """Length of the scored characters in UTF-8."""


class Engine(Protocol):
    """A loaded model: greedy, so that one prompt has one answer, whatever it is batched with."""

    name: str
    """The engine's name in `greenllm.json`."""
    context: int
    """Longest prompt and answer together, in tokens."""

    @property
    def precision(self) -> str | None:
        """Precision of the weights: fp32, bf16, int8 or int4; None where it is unknown."""
        ...

    def generate(
        self,
        prompts: Sequence[str],
        max_tokens: int | Sequence[int],
        on_token: OnToken | None = None,
        cancelled: Cancelled | None = None,
        confidence: bool = False,
    ) -> list[Completion]:
        """Answer `prompts` together, in their order, with at most `max_tokens` tokens each.

        A `Prompt` is read by its token ids; in any other text no special token is seen.

        An answer ends at the model's end token, at its limit or where the context is full.
        `on_token(i, text)` is told the new text of prompt i as it comes, in whole characters; the pieces
        join up to the answer.
        Where `cancelled(i)` turns true nobody waits for answer i any longer, and it is cut short.
        With `confidence` each answer tells its own, which takes a little time and changes no answer.

        Raises `PromptTooLong` where a prompt fills the context, `PromptError` where it is empty.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens that `text` has as a prompt."""
        ...

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt that the model's chat template makes of `messages` (role and content).

        The template's own special tokens are in it by their ids (`Prompt`); those in the messages are only text.
        Raises `PromptError` where the model has no chat template, or its template refuses the messages.
        """
        ...


@runtime_checkable
class ScoresTexts(Protocol):
    """An engine that can also say how likely it finds a given text."""

    def score(self, texts: Sequence[str]) -> list[Likelihood]:
        """Return the likelihood of each text: of every token but the first, after all tokens before it.

        The first token is only what the others follow; it is the model's own begin token where the tokenizer puts one
        there, and then all characters are scored. Where a text is longer than the context, it is scored in windows
        that overlap by one token: each token but the first is scored once, after those of its window. No end token is
        added, and none scored.
        """
        ...


def load_engine(folder: Path, *, threads: int, device: Device = "auto") -> Engine:
    """Load the model in `folder` on the engine its `greenllm.json` names, with `threads` CPU threads.

    A Hugging Face folder without `greenllm.json` is run by transformers in fp32. `device` "auto" takes a GPU
    where the engine can use one, "cpu" never, "require" refuses to run without.

    Raises `UserError` where the folder holds no model, the device asked for is not there, or the
    engine is not installed.
    """
    manifest = read_manifest(folder)
    try:
        return _load(folder, manifest, threads, device)
    except ModuleNotFoundError as error:
        if (error.name or "greenllm").startswith("greenllm"):
            raise
        raise UserError(
            f"{folder}: the engine {manifest.engine} needs the Python package {error.name}, which {sys.executable} "
            "does not have; install it there"
        ) from None


def _load(folder: Path, manifest: Manifest, threads: int, device: Device) -> Engine:
    # Imported here, so that a job pays only for the start-up of the engine it uses.
    if manifest.engine == "onnxruntime-genai":
        from greenllm.engines.onnxruntime_genai import OnnxRuntimeGenAI

        return OnnxRuntimeGenAI(folder, manifest, threads=threads, device=device)
    if manifest.engine in ("classifier-pytorch", "classifier-tensorflow"):
        from greenllm.engines.classifier import Classifier

        framework: Any = manifest.engine.removeprefix("classifier-")
        return Classifier(folder, manifest, framework=framework, threads=threads, device=device)
    if manifest.engine == "openai-endpoint":
        from greenllm.engines.openai_endpoint import OpenAIEndpoint

        return OpenAIEndpoint(folder, manifest)
    from greenllm.engines.transformers import Transformers

    return Transformers(folder, manifest, threads=threads, device=device)
