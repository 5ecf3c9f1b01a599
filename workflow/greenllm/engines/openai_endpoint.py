"""A model behind an OpenAI endpoint that runs already: requests are sent there, nothing is loaded here."""

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from greenllm.engines import Cancelled, Completion, OnToken, PromptError
from greenllm.engines.decoding_choice import GREEDY, Decoding
from greenllm.errors import UserError
from greenllm.model_folder.endpoint import text_of
from greenllm.model_folder.manifest import FILE, Manifest

TIMEOUT_s = 300
"""Longest wait for an answer: an endpoint may queue prompts that are sent together."""


class OpenAIEndpoint:
    """An endpoint. Prompts given together are sent together."""

    name = "openai-endpoint"
    precision = None
    gpus = 0  # none here: those of the endpoint are unknown
    context = sys.maxsize  # unknown here: the endpoint itself refuses a prompt that is too long

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        if manifest.endpoint is None:
            raise UserError(f"{folder / FILE}: endpoint is missing; expected what `greenllm collect-model` wrote")
        self._endpoint = manifest.endpoint
        self._client = httpx.Client(headers=self._endpoint.headers(), timeout=TIMEOUT_s, trust_env=False)

    def use_threads(self, threads: int) -> None:
        """Raise UserError: only the server behind the endpoint sets its threads."""
        raise UserError(f"{self._endpoint.url}: an endpoint's number of threads cannot be changed from here")

    def count_tokens(self, text: str) -> int:
        """Return the number of characters, by which prompts are ordered: the endpoint's tokenizer is not known here."""
        return len(text)

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Raise PromptError: only the endpoint has its chat template."""
        raise PromptError(f"{self._endpoint.url} applies its chat template itself; send chat messages to it")

    def generate(
        self,
        prompts: Sequence[str],
        max_tokens: int | Sequence[int],
        on_token: OnToken | None = None,
        cancelled: Cancelled | None = None,
        confidence: bool = False,
        decodings: Sequence[Decoding] | None = None,
    ) -> list[Completion]:
        """Answer `prompts`; see `Engine.generate`. Answers arrive whole, without confidence or log probabilities.

        Raises UserError if the endpoint can't be reached or refuses a prompt.
        """
        limits = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else max_tokens
        answers = []
        with ThreadPoolExecutor(max(1, len(prompts))) as threads:
            for index, answer in enumerate(
                threads.map(self._ask, prompts, limits, decodings or [GREEDY] * len(prompts))
            ):
                if on_token is not None:
                    on_token(index, answer.text)
                answers.append(answer)
        return answers

    def _ask(self, prompt: str, max_tokens: int, decoding: Decoding) -> Completion:
        endpoint = self._endpoint
        body = endpoint.body(
            prompt,
            max_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=decoding.seed,
            stop=decoding.stop,
            ignore_end=decoding.ignore_end,
        )
        try:
            response = self._client.post(endpoint.url + endpoint.path, json=body)
        except httpx.HTTPError as error:
            raise endpoint.unreachable(error) from None
        if response.status_code != 200:
            raise endpoint.refused(response.status_code, response.content)
        try:
            answer = response.json()
            choice, usage = answer["choices"][0], answer["usage"]
            return Completion(
                text_of(choice),
                int(usage["completion_tokens"]),
                int(usage["prompt_tokens"]),
                "length" if choice["finish_reason"] == "length" else "stop",
            )
        except (ValueError, KeyError, IndexError, TypeError):
            raise UserError(
                f"{endpoint.url}{endpoint.path}: an answer without choices or usage; expected OpenAI's interface"
            ) from None
