"""An engine as a model of lm-evaluation-harness: its tasks run on the weights and numerics that will be deployed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm
from transformers import AutoTokenizer

from greenllm.engines import Engine, Prompt, ScoresTexts
from greenllm.engines.finite import require_finite
from greenllm.errors import UserError
from greenllm.harness.decoding import decoding_of


class EngineModel(TemplateLM):  # type: ignore[misc]  # lm_eval has no types
    """The model in a folder on its engine. Texts are encoded as lm_eval's own `hf` model does.

    So a special token that a task's text or a chat template spells is that token.
    """

    def __init__(self, engine: Engine, folder: Path, *, batch: int) -> None:
        """Raises UserError if the engine computes no likelihoods, as an endpoint."""
        super().__init__()
        if not isinstance(engine, ScoresTexts):
            raise UserError(
                f"the engine {engine.name} cannot compute the likelihood of a given text; evaluate another task on it"
            )
        self._engine: Engine = engine
        self._scoring: ScoresTexts = engine
        self._batch = batch
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.passes: list[int] = []
        """Tokens read for each request, for its operations."""

    @property
    def eot_token_id(self) -> int:
        """The id of the end token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The id of the token before a text without context: the begin token, or else the end token."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    @property
    def tokenizer_name(self) -> str:
        """The name of the tokenizer, by which lm_eval caches requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a chat in the model's template, as text."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Return the token ids of a text, with those that the tokenizer adds unless the text begins with the first."""
        prefix = self.tokenizer.decode(self.prefix_token_id)
        add = not string.startswith(prefix) if add_special_tokens is None else add_special_tokens
        return list(self.tokenizer.encode(string, add_special_tokens=add))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return log p (nats) of each whole text, in windows that do not overlap."""
        windows = [
            (number, window)
            for number, request in enumerate(requests)
            for window in map(make_disjoint_window, self._windows(request.args[0]))
        ]
        found = self._loglikelihood_tokens([(("", ""), *window) for _, window in windows], disable_tqdm=disable_tqdm)
        totals = [0.0] * len(requests)
        for (number, _), (log_likelihood, _) in zip(windows, found, strict=True):
            totals[number] += log_likelihood
        return totals

    def _windows(self, text: str) -> Any:
        return get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self._engine.context,
            context_len=1,
        )

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return each answer up to a stop text, decoded greedily or as the task says.

        lm_eval asks for several samples with copies of one request, so a copy's number is its seed.
        Raises UserError if a task decodes in a way that the engines do not have, or leaves no room for a prompt.
        """
        end, copies = self.tokenizer.decode(self.eot_token_id), Counter[int]()
        prepared = []
        for index, request in enumerate(requests):
            text, options = request.args
            decoding, limit = decoding_of(options, end)
            prepared.append((self._context(text, limit), replace(decoding, seed=copies[id(request)]), limit, index))
            copies[id(request)] += 1
        prepared.sort(key=lambda one: -len(one[0]))
        answers: dict[int, str] = {}
        for start in tqdm(range(0, len(prepared), self._batch), disable=disable_tqdm, unit="batch", mininterval=5):
            some = prepared[start : start + self._batch]
            prompts = [Prompt(self.tokenizer.decode(ids), ids) for ids, _, _, _ in some]
            limits = [limit for _, _, limit, _ in some]
            completions = self._engine.generate(prompts, limits, decodings=[how for _, how, _, _ in some])
            for (ids, how, _, index), completion in zip(some, completions, strict=True):
                answers[index] = _before(completion.text, how.stop)
                self.passes.append(len(ids) + completion.tokens - 1)
        return [answers[index] for index in range(len(requests))]

    def _context(self, text: str, limit: int) -> list[int]:
        """Return a prompt's token ids; the beginning of a long one is cut off, so that `limit` tokens have room."""
        most = self._engine.context - limit
        if most < 1:
            raise UserError(
                f"the task asks for answers of {limit} tokens, and the model's context has {self._engine.context}; "
                "set max_gen_toks in the task's generation_kwargs"
            )
        return self.tok_encode(text)[-most:]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Return log p (nats) of each continuation, and whether greedy decoding would generate it.

        Raises UserError if a likelihood is not finite.
        """
        pairs = [(Prompt("", before), Prompt("", after)) for _, before, after in requests]
        scored: list[tuple[float, bool]] = []
        for start in tqdm(range(0, len(pairs), self._batch), disable=disable_tqdm, unit="batch", mininterval=5):
            for found in self._scoring.loglikelihoods(pairs[start : start + self._batch]):
                scored.append((-found.nats, found.greedy))
                self.passes.append(found.context_tokens + found.tokens - 1)
        names = [f"request {number}" for number in range(1, len(scored) + 1)]
        require_finite([nats for nats, _ in scored], names, "requests of the harness")
        return scored


def _before(text: str, stop: Sequence[str]) -> str:
    """Return a text up to the first stop text, as lm_eval cuts it."""
    for one in stop:
        text = text.split(one)[0]
    return text
