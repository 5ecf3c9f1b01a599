"""PyTorch in eager mode with the models of transformers: the baseline for every other engine."""

import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Idle threads sleep: spinning doubles the processor time of a small model, and slows down everything if there are more
# threads than cores. OpenMP reads this when it is loaded, so it is set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

from greenllm.accelerator import uses_gpu
from greenllm.device_choice import DeviceChoice
from greenllm.engines import Cancelled, Completion, ContinuationLikelihood, Likelihood, OnToken, Prompt
from greenllm.engines.continuations import ScoredEnd, loglikelihoods
from greenllm.engines.decoding import Batch
from greenllm.engines.decoding_choice import Decoding, ScoredPrompt
from greenllm.engines.scored_prompts import scored_prompts
from greenllm.engines.scoring import likelihoods
from greenllm.engines.text import Text, token_ids
from greenllm.errors import UserError
from greenllm.model_folder.manifest import Manifest
from greenllm.tokens import read_settings_file

# int8 and int4 are quantised by torchao: config.json says how, and in which type the rest computes.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": "auto", "int4": "auto"}

MOST_SCORED = 256  # windows scored together


class Transformers:
    """A Hugging Face model folder, run by PyTorch with a key-value cache.

    The decoding loop is ours: the bookkeeping of transformers' `generate()` takes more time than a small model's own
    computation, which would make a poor baseline. The tokens are the same.
    """

    name = "transformers"

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int, device: DeviceChoice) -> None:
        if manifest.precision not in PRECISIONS:
            raise UserError(f"{folder}: precision {manifest.precision}: {self.name} has only {[*PRECISIONS]}")
        cuda = uses_gpu(device)
        self.use_threads(threads)
        self.device = torch.device("cuda" if cuda else "cpu")
        self.gpus = int(cuda)
        self.precision: str = manifest.precision
        self.text = Text(folder)
        self._folder = folder
        self.load()
        longest = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        limits = [limit for limit in (manifest.context, longest) if limit]
        if not limits:
            raise UserError(f"{folder}: neither greenllm.json nor config.json has the context length, in tokens")
        self.context = min(limits)
        self._end = (
            token_ids(read_settings_file(folder / "generation_config.json").get("eos_token_id"))
            or token_ids(read_settings_file(folder / "config.json").get("eos_token_id"))
            or token_ids(self.text.token_id("eos_token"))
        )

    def load(self) -> None:
        """Load the model from its folder. Raises `UserError` if that fails."""
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            model = AutoModelForCausalLM.from_pretrained(
                self._folder, dtype=PRECISIONS[self.precision], local_files_only=True, use_safetensors=True
            )
        except (ImportError, OSError, ValueError, RuntimeError, SafetensorError) as error:
            line = " ".join(str(error).split())
            raise UserError(
                f"{self._folder}: cannot be loaded by {self.name}: {line[:300]}; expected config.json and "
                "whole *.safetensors, as transformers' save_pretrained writes them; pickled weights are never loaded"
            ) from None
        self._model: Any = model.to(self.device).eval()

    def unload(self) -> None:
        """Free the memory of the model; on a GPU the context of CUDA stays."""
        self._model = None
        gc.collect()  # before the cache is emptied: modules refer to each other
        if self.gpus:
            torch.cuda.empty_cache()

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens that `text` has as a prompt."""
        return len(self.text.prompt_ids(text))

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> Prompt:
        """Return the prompt that the model's chat template makes of `messages`."""
        return self.text.chat_prompt(messages)

    def use_threads(self, threads: int) -> None:
        """Compute with this number of CPU threads from now on, as does everything of PyTorch in this process."""
        torch.set_num_threads(threads)

    @torch.inference_mode()
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
        if not rows:
            return []
        longest = max(map(len, rows))
        # Padded on the left, so that every row's next token is at the end; positions start after the padding.
        padding = torch.tensor([longest - len(row) for row in rows])
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=self.device)
        positions = (torch.arange(longest) - padding[:, None]).clamp(min=0).to(self.device)
        mask: torch.Tensor | None = None  # without padding the causal mask is enough, and faster
        if padding.any():
            mask = (torch.arange(longest + batch.left()) >= padding[:, None]).long().to(self.device)
        cache = DynamicCache(config=self._model.config)
        length = longest
        while True:
            output = self._model(
                input_ids=ids,
                attention_mask=None if mask is None else mask[:, :length],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = output.logits[:, -1]
            read = logits.float().cpu().numpy() if batch.needs_logits else None
            if read is None:
                ids = logits.argmax(dim=-1, keepdim=True)
            else:
                ids = torch.tensor(batch.choose(range(len(rows)), read), device=self.device)[:, None]
            probabilities = _log_probabilities(logits, ids[:, 0]).tolist() if confidence else None
            batch.add(range(len(rows)), ids[:, 0].tolist(), probabilities, read)
            if not batch.going:
                return batch.completions()
            # A row that has ended goes on in the batch, maybe past the last position that the model has learned.
            positions = (positions[:, -1:] + 1).clamp(max=self.context - 1)
            length += 1

    def score(self, texts: Sequence[str]) -> list[Likelihood]:
        """Return the likelihood of each text; see `ScoresTexts.score`."""
        return likelihoods(texts, self.text, self.context, self._nats, most_together=MOST_SCORED)

    def score_tokens(self, prompts: Sequence[str], alternatives: int) -> list[ScoredPrompt]:
        """Return each prompt with its tokens' log probabilities; see `ScoresTokens.score_tokens`."""
        return scored_prompts(prompts, self.text, self.context, self._logits, alternatives)

    @torch.inference_mode()
    def _logits(self, row: list[int]) -> NDArray[np.float32]:
        """Return the logits after each token of a row, of shape (tokens, vocabulary)."""
        ids = torch.tensor([row], device=self.device)
        logits: NDArray[np.float32] = self._model(input_ids=ids, use_cache=False).logits[0].float().cpu().numpy()
        return logits

    @torch.inference_mode()
    def _nats(self, rows: list[list[int]]) -> list[float]:
        """Return -log p of all tokens of each row but the first. No token attends to the padding on the right."""
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(self.device)
        logits = self._model(input_ids=ids[:, :-1], use_cache=False).logits
        found = _log_probabilities(logits, ids[:, 1:]).double().cpu()
        return [-float(line[: len(row) - 1].sum()) for line, row in zip(found, rows, strict=True)]

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[ContinuationLikelihood]:
        """Return the likelihood of each continuation; see `ScoresTexts.loglikelihoods`."""
        return loglikelihoods(pairs, self.text, self.context, self._score_ends, most_together=MOST_SCORED)

    @torch.inference_mode()
    def _score_ends(self, rows: list[list[int]], firsts: list[int]) -> list[ScoredEnd]:
        """Score the tokens of each row from its index in `firsts` on. No token attends to the padding on the right."""
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(self.device)
        # All logits, though only the last ones are needed: a product of another shape is rounded otherwise.
        logits = self._model(input_ids=ids[:, :-1], use_cache=False).logits
        ends = []
        for line, row, first in zip(logits, rows, firsts, strict=True):
            # In double precision: rounded logarithms would add up to 1e-6 nats over some tokens.
            given = line[first - 1 : len(row) - 1].double()
            wanted = torch.tensor(row[first:], device=self.device)
            nats = -float(given.log_softmax(dim=-1).gather(-1, wanted[:, None]).sum())
            ends.append(ScoredEnd(nats, bool((given.argmax(dim=-1) == wanted).all())))
        return ends


def _log_probabilities(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return log p, in nats, of `ids`, of shape (...), among the tokens of `logits`, of shape (..., vocabulary)."""
    return logits.float().log_softmax(dim=-1).gather(-1, ids[..., None])[..., 0]
