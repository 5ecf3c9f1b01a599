"""Engines turn prompts into answers: one protocol, one file per engine. A model folder names its engine."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

from greenllm.device_choice import DeviceChoice
from greenllm.engines.decoding_choice import Decoding, ScoredPrompt, ScoredToken
from greenllm.errors import UserError
from greenllm.model_folder.manifest import EngineName, Manifest, read_manifest

OnToken = Callable[[int, str], None]
Cancelled = Callable[[int], bool]

# The engines whose number of threads can be changed after the start; so a measurement can find out which is best.
CHANGE_THREADS: frozenset[EngineName] = frozenset({"transformers", "onnxruntime-genai", "classifier-pytorch"})


class PromptError(UserError):
    """A prompt that a model cannot answer."""


class PromptTooLong(PromptError):  # noqa: N818
    """A prompt that leaves no room for an answer in the model's context."""


class Prompt(str):
    """A prompt with its token ids, made by a chat template or by a client.

    Only ids can name special tokens. The same text as a plain `str` would only spell them.
    """

    ids: tuple[int, ...]

    def __new__(cls, text: str, ids: Iterable[int]) -> Self:
        """Join a text and its token ids, including those that the tokenizer itself adds around a text."""
        prompt = super().__new__(cls, text)
        prompt.ids = tuple(ids)
        return prompt


@dataclass(frozen=True)
class Completion:
    """One answer: its text, the lengths of answer and prompt in tokens, and the reason why it ended.

    `tokens` includes the end token if there is one (`finish_reason` "stop"). "length" means that the requested limit
    or the model's context was reached. `confidence` is the probability (0 to 1) that the model assigns to all tokens
    of the answer, including the end token: exp of the sum of their log p; None if not requested. `scored` are the
    answer's tokens with their log probabilities, without the end token; None if not requested.
    """

    text: str
    tokens: int
    prompt_tokens: int
    finish_reason: Literal["stop", "length"]
    confidence: float | None = None
    scored: tuple[ScoredToken, ...] | None = None


@dataclass(frozen=True)
class Likelihood:
    """How likely a model finds a text: the sum of -log p (nats) over its scored tokens, and their number and length."""

    nats: float
    tokens: int
    bytes: int
    """Length of the scored characters in UTF-8."""


@dataclass(frozen=True)
class ContinuationLikelihood(Likelihood):
    """How likely a model finds a continuation after its context; `tokens` and `bytes` are the continuation's."""

    greedy: bool
    """Whether each of its tokens is the most probable one, so that greedy decoding would generate it."""
    context_tokens: int
    """Tokens of the context that the model read."""


class Engine(Protocol):
    """A loaded model. A prompt and its decoding have one answer, whatever it is batched with."""

    name: str
    """The engine's name in `greenllm.json`."""
    context: int
    """Longest prompt and answer together, in tokens."""
    gpus: int
    """Number of GPUs that it computes on; 0 on the CPU."""

    @property
    def precision(self) -> str | None:
        """Precision of the weights: fp32, bf16, int8 or int4; None if unknown."""
        ...

    def generate(
        self,
        prompts: Sequence[str],
        max_tokens: int | Sequence[int],
        on_token: OnToken | None = None,
        cancelled: Cancelled | None = None,
        confidence: bool = False,
        decodings: Sequence[Decoding] | None = None,
    ) -> list[Completion]:
        """Answer `prompts` together, in their order, with at most `max_tokens` tokens each.

        Each answer is decoded as its own one of `decodings` says; without them all are decoded greedily.

        A `Prompt` is read by its token ids. In any other text, special tokens are only text.

        An answer ends at the model's end token, before a stop string, at its limit, or when the context is full.
        `on_token(i, text)` is called with each new piece of answer i, in whole characters; the pieces joined are the
        answer. A piece is a `ScoredText` where log probabilities are requested. When `cancelled(i)` becomes true,
        nobody waits for answer i any longer, and it is cut short.
        With `confidence`, each completion has one. That takes a little time and changes no answer.

        Raises `PromptTooLong` if a prompt fills the context, `PromptError` if it is empty.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens that `text` has as a prompt."""
        ...

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt that the model's chat template makes of `messages` (role and content).

        The template's own special tokens are ids (`Prompt`); those that a message spells are only text.
        Raises `PromptError` if the model has no chat template, or its template refuses the messages.
        """
        ...

    def use_threads(self, threads: int) -> None:
        """Compute with this number of CPU threads from now on; the answers stay the same.

        Raises `UserError` if the number is fixed: the engine is not one of `CHANGE_THREADS`.
        """
        ...


@runtime_checkable
class ScoresTexts(Protocol):
    """An engine that can also compute the likelihood of a given text, or of its end."""

    def score(self, texts: Sequence[str]) -> list[Likelihood]:
        """Return the likelihood of each text: of every token but the first, given all tokens before it.

        The first token is not scored. If the tokenizer adds the model's begin token, that is the first, and all
        characters are scored. A text longer than the context is scored in windows that overlap by one token: each
        token but the first is scored once, given those before it in its window. No end token is added or scored.
        """
        ...

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[ContinuationLikelihood]:
        """Return, for each pair of a context and its continuation, the likelihood of the continuation's tokens.

        A pair is encoded as one text, after white space at the end of the context has moved to the continuation, as
        in EleutherAI's lm-evaluation-harness. A context that is a `Prompt` is read by its token ids; the continuation
        is then encoded by itself, or read by its ids as well. If both together exceed the context length, the
        beginning of the context is cut off.

        Raises `PromptError` if the context or the continuation has no token, `PromptTooLong` if the continuation alone
        fills the context length.
        """
        ...


@runtime_checkable
class ScoresTokens(Protocol):
    """An engine that reports the log probability of each token, of answers (`Decoding.alternatives`) and of prompts."""

    def score_tokens(self, prompts: Sequence[str], alternatives: int) -> list[ScoredPrompt]:
        """Return each prompt with its tokens' log probabilities, and this number of most likely tokens for each.

        Raises `PromptError` if a prompt is empty or longer than the context.
        """
        ...


@runtime_checkable
class Unloads(Protocol):
    """An engine that can free its model's memory and load the model again; it counts tokens meanwhile."""

    def unload(self) -> None:
        """Free the memory of the model; `generate` needs `load` before it."""
        ...

    def load(self) -> None:
        """Load the model from its folder. Raises `UserError` if that fails."""
        ...


def load_engine(folder: Path, *, threads: int, device: DeviceChoice = "auto") -> Engine:
    """Load the model in `folder` on the engine that its `greenllm.json` names, with `threads` CPU threads.

    A Hugging Face folder without `greenllm.json` is run by transformers in fp32. `device` "auto" uses a GPU if there
    is one that the engine can use, "cpu" never uses one, "require" fails without one. A model whose `greenllm.json`
    names a device computes there.

    Raises `UserError` if the folder is not a model folder, the required device is missing, or the engine is not
    installed.
    """
    manifest = read_manifest(folder)
    try:
        return _load(folder, manifest, threads, manifest.device or device)
    except ModuleNotFoundError as error:
        if (error.name or "greenllm").startswith("greenllm"):
            raise
        raise UserError(
            f"{folder}: the engine {manifest.engine} needs the Python package {error.name}, which {sys.executable} "
            "does not have; install it there"
        ) from None


def _load(folder: Path, manifest: Manifest, threads: int, device: DeviceChoice) -> Engine:
    # Imported here, so that a job loads only the engine that it uses.
    if manifest.engine == "onnxruntime-genai":
        from greenllm.engines.onnxruntime_genai import OnnxRuntimeGenAI

        return OnnxRuntimeGenAI(folder, manifest, threads=threads, device=device)
    if manifest.engine in ("classifier-pytorch", "classifier-tensorflow"):
        from greenllm.engines.classifier import ClassifierEngine

        framework: Any = manifest.engine.removeprefix("classifier-")
        return ClassifierEngine(folder, manifest, framework=framework, threads=threads, device=device)
    if manifest.engine == "openai-endpoint":
        from greenllm.engines.openai_endpoint import OpenAIEndpoint

        return OpenAIEndpoint(folder, manifest)
    from greenllm.engines.transformers import Transformers

    return Transformers(folder, manifest, threads=threads, device=device)
