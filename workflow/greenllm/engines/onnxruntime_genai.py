"""ONNX Runtime GenAI: runs models of its model builder. Imports neither torch nor transformers."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime_genai
from numpy.typing import NDArray

from greenllm.device_choice import DeviceChoice
from greenllm.engines import Cancelled, Completion, ContinuationLikelihood, Likelihood, OnToken, Prompt
from greenllm.engines.continuations import ScoredEnd, loglikelihoods
from greenllm.engines.decoding import Batch
from greenllm.engines.decoding_choice import Decoding, ScoredPrompt
from greenllm.engines.scored_prompts import scored_prompts
from greenllm.engines.scoring import likelihoods
from greenllm.engines.text import Text, token_ids
from greenllm.errors import UserError
from greenllm.model_folder.graphs import ALL_TOKENS, LAST_TOKEN
from greenllm.model_folder.manifest import Manifest
from greenllm.tokens import read_settings_file

# Not a token's id, so no prompt contains it: the library masks every id equal to the padding, even one that a prompt
# means. As an index into the embedding it is the last row, which is masked.
PADDING = -1

# The library refuses larger batches; the remaining rows go into the next one.
MOST_TOGETHER = 32

# A generator's length is a multiple of this, so that the next batch often has the same length and can reuse it.
LENGTH_STEP = 128


class OnnxRuntimeGenAI:
    """A model folder written by `onnxruntime_genai.models.builder`, run on the CPU.

    It answers with the graph of the last token's logits, if the folder has one. The first text to score loads the graph
    of all logits in its place, which answers from then on, too: with the same tokens, but more slowly.
    """

    name = "onnxruntime-genai"
    gpus = 0

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int, device: DeviceChoice) -> None:
        if device == "require":
            raise UserError(f"{folder}: device `require`, but the engine {self.name} runs on the CPU here; use `auto`")
        self.precision = manifest.precision
        self._folder = folder
        settings = read_settings_file(folder / "genai_config.json").get("model", {})
        limits = [limit for limit in (manifest.context, settings.get("context_length")) if limit]
        if not limits:
            raise UserError(f"{folder / 'genai_config.json'}: model.context_length: missing; build the model again")
        self.context = min(limits)
        self.text = Text(folder)
        self._end = token_ids(settings.get("eos_token_id"))
        onnxruntime_genai.disable_telemetry_events()
        self._graph = LAST_TOKEN if (folder / LAST_TOKEN).is_file() else None  # None: the only one
        self._last: tuple[tuple[int, int], onnxruntime_genai.Generator] | None = None
        self._model: onnxruntime_genai.Model | None = None
        self.use_threads(threads)

    def use_threads(self, threads: int) -> None:
        """Compute with this number of threads from now on. The model is loaded again: its session has a fixed number.

        Raises `UserError` if it cannot be loaded.
        """
        self._threads = threads
        self.load()

    def unload(self) -> None:
        """Free the memory of the model, and of the last generator."""
        self._last = self._model = None

    def load(self) -> None:
        """Load the model from its folder. Raises `UserError` if that fails."""
        self.unload()  # first, so that the model is never in memory twice
        # Idle threads sleep: spinning takes up to twice the processor time for the same answers.
        session = {"intra_op_num_threads": self._threads, "session.intra_op.allow_spinning": "0"}
        decoder = {"session_options": session} | ({"filename": self._graph} if self._graph else {})
        overlay = {"model": {"pad_token_id": PADDING, "decoder": decoder}}
        try:
            config = onnxruntime_genai.Config(str(self._folder))
            config.overlay(json.dumps(overlay))
            self._model = onnxruntime_genai.Model(config)
        except Exception as error:  # the library raises bare Exceptions and RuntimeErrors
            raise UserError(f"{self._folder}: cannot be loaded by {self.name}: {error}") from None

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens that `text` has as a prompt."""
        return len(self.text.prompt_ids(text))

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> Prompt:
        """Return the prompt that the model's chat template makes of `messages`."""
        return self.text.chat_prompt(messages)

    def generate(
        self,
        prompts: Sequence[str],
        max_tokens: int | Sequence[int],
        on_token: OnToken | None = None,
        cancelled: Cancelled | None = None,
        confidence: bool = False,
        decodings: Sequence[Decoding] | None = None,
    ) -> list[Completion]:
        """Answer `prompts` together; see `Engine.generate`."""
        rows = self.text.prompts_within(prompts, self.context)
        batch = Batch(self.text, rows, max_tokens, self.context, self._end, on_token, cancelled, decodings)
        while batch.going:
            self._decode(batch, confidence)
        return batch.completions()

    def _decode(self, batch: Batch, confidence: bool) -> None:
        """Decode the rows that have not ended, until they end or the longest fills the context.

        Padding makes all rows as long as the longest, so a short row may be cut off before its own limit. It continues
        in the next call, after the tokens that it has.
        """
        indices = list(batch.going)[:MOST_TOGETHER]
        padded = _padded([batch.ids(index) for index in indices])
        generator = self._reading(padded, max_length=min(padded.shape[1] + batch.left(), self.context))
        while not generator.is_done() and not set(indices).isdisjoint(batch.going):
            # The logits of each row's next token.
            logits = generator.get_logits()[:, -1] if confidence or batch.needs_logits else None
            if logits is not None and batch.needs_logits:
                generator.set_logits(_only(batch.choose(indices, logits), logits.shape))
            generator.generate_next_token()
            tokens = generator.get_next_tokens()
            probabilities = _log_probabilities(logits, tokens).tolist() if confidence and logits is not None else None
            batch.add(indices, tokens.tolist(), probabilities, logits)

    def _reading(self, padded: NDArray[np.int32], max_length: int) -> onnxruntime_genai.Generator:
        """Return a generator that has read rows of token ids, with room for `max_length` tokens or more."""
        shape = (len(padded), min(math.ceil(max_length / LENGTH_STEP) * LENGTH_STEP, self.context))
        generator = self._rewound(shape)
        if generator is None:
            parameters = onnxruntime_genai.GeneratorParams(self._model)
            parameters.set_search_options(batch_size=shape[0], max_length=shape[1], do_sample=False, num_beams=1)
            generator = onnxruntime_genai.Generator(self._model, parameters)
        generator.append_tokens(padded)
        self._last = shape, generator
        return generator

    def _rewound(self, shape: tuple[int, int]) -> onnxruntime_genai.Generator | None:
        """Return the last generator, reset, if it has this shape (rows, length).

        To make a new one takes as long as a small model takes to read its prompt.
        """
        last, self._last = self._last, None
        if last is None or last[0] != shape:
            return None
        try:
            last[1].rewind_to(0)
        except Exception:  # not every kind of cache can be rewound
            return None
        return last[1]

    def score(self, texts: Sequence[str]) -> list[Likelihood]:
        """Return the likelihood of each text; see `ScoresTexts.score`."""
        return likelihoods(texts, self.text, self.context, self._nats, most_together=MOST_TOGETHER)

    def score_tokens(self, prompts: Sequence[str], alternatives: int) -> list[ScoredPrompt]:
        """Return each prompt with its tokens' log probabilities; see `ScoresTokens.score_tokens`."""
        return scored_prompts(prompts, self.text, self.context, self._logits, alternatives)

    def _logits(self, row: list[int]) -> NDArray[np.float32]:
        """Return the logits after each token of a row, of shape (tokens, vocabulary)."""
        logits: NDArray[np.float32] = self._read_all(_padded([row]))[0]
        return logits

    def _nats(self, rows: list[list[int]]) -> list[float]:
        """Return -log p of all tokens of each row but the first."""
        logits, padded = self._all_logits(rows)
        found = _log_probabilities(logits, padded[:, 1:])
        return [-float(line[: len(row) - 1].sum(dtype=np.float64)) for line, row in zip(found, rows, strict=True)]

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[ContinuationLikelihood]:
        """Return the likelihood of each continuation; see `ScoresTexts.loglikelihoods`."""
        return loglikelihoods(pairs, self.text, self.context, self._score_ends, most_together=MOST_TOGETHER)

    def _score_ends(self, rows: list[list[int]], firsts: list[int]) -> list[ScoredEnd]:
        """Score the tokens of each row from its index in `firsts` on."""
        logits, padded = self._all_logits(rows)
        ends = []
        for line, ids, row, first in zip(logits, padded, rows, firsts, strict=True):
            given, wanted = line[first - 1 : len(row) - 1], ids[first : len(row)]
            nats = -float(_log_probabilities(given, wanted).sum(dtype=np.float64))
            ends.append(ScoredEnd(nats, bool((given.argmax(axis=-1) == wanted).all())))
        return ends

    def _all_logits(self, rows: list[list[int]]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return the logits that predict each token but the first, and the padded rows of token ids."""
        padded = _padded(rows)
        return self._read_all(np.ascontiguousarray(padded[:, :-1])), padded

    def _read_all(self, padded: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the logits after all tokens of padded rows, of shape (rows, tokens, vocabulary)."""
        if self._graph == LAST_TOKEN:
            self._graph = ALL_TOKENS
            self.load()
        # Unlike get_logits, which returns those of each row's last token.
        logits = self._reading(padded, max_length=padded.shape[1]).get_output("logits")
        return np.asarray(logits, dtype=np.float32)


def _only(tokens: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return logits of shape (rows, 1, vocabulary) by which each row's next token is the one of `tokens`."""
    logits = np.full((shape[0], 1, shape[1]), np.finfo(np.float32).min, dtype=np.float32)
    logits[np.arange(shape[0]), 0, tokens] = 0
    return logits


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Return rows of token ids, of shape (rows, longest), padded on the right.

    The attention kernel (GroupQueryAttention) counts a row's tokens from its start. With padding on the left its
    answers are wrong, without an error.
    """
    padded = np.full((len(rows), max(map(len, rows))), PADDING, dtype=np.int32)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
    return padded


def _log_probabilities(logits: NDArray[np.float32], ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return log p, in nats, of `ids`, of shape (...), among the tokens of `logits`, of shape (..., vocabulary)."""
    # Indexing the rows of a matrix: take_along_axis takes as long as everything else here together.
    rows = logits.reshape(-1, logits.shape[-1])
    shifted = rows - rows.max(axis=-1, keepdims=True)
    chosen = shifted[np.arange(len(rows)), ids.reshape(-1)]
    return np.asarray(chosen - np.log(np.exp(shifted).sum(axis=-1))).reshape(ids.shape)
