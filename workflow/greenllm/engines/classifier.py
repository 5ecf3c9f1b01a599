"""The article's classifier as an engine: the prompt is an image as text, the answer a digit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from greenllm.classifier import Framework, load_network
from greenllm.classifier.images import grey_values, images_of
from greenllm.device_choice import DeviceChoice
from greenllm.engines import Cancelled, Completion, OnToken, PromptError
from greenllm.engines.decoding_choice import GREEDY, Decoding
from greenllm.engines.stop_strings import StopStrings
from greenllm.engines.token_choice import TokenChoice
from greenllm.errors import UserError
from greenllm.model_folder.manifest import Manifest


class ClassifierEngine:
    """A model folder of the recipe step `classifier`, run on the CPU. A token is a grey value, or the digit."""

    precision = "fp32"
    gpus = 0

    def __init__(
        self, folder: Path, manifest: Manifest, *, framework: Framework, threads: int, device: DeviceChoice
    ) -> None:
        if device == "require":
            raise UserError(f"{folder}: device `require`, but a classifier runs on the CPU here; use `auto`")
        self.name: str = manifest.engine
        self.context = manifest.context or 0
        self._framework, self._folder, self._threads = framework, folder, threads
        self.load()

    def load(self) -> None:
        """Load the network from its folder. Raises UserError if its framework is not installed."""
        self._network = load_network(self._framework, self._folder, threads=self._threads)

    def unload(self) -> None:
        """Free the memory of the network."""
        del self._network

    def use_threads(self, threads: int) -> None:
        """Compute with this number of threads from now on; raise UserError if the framework has a fixed number."""
        self._network.use_threads(threads)
        self._threads = threads

    def count_tokens(self, text: str) -> int:
        """Return the number of grey values; raise PromptError if the text is not an image."""
        try:
            return len(grey_values(text))
        except ValueError as error:
            raise PromptError(str(error)) from None

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the last message: an image needs no template."""
        return messages[-1]["content"]

    def generate(
        self,
        prompts: Sequence[str],
        max_tokens: int | Sequence[int],
        on_token: OnToken | None = None,
        cancelled: Cancelled | None = None,
        confidence: bool = False,
        decodings: Sequence[Decoding] | None = None,
    ) -> list[Completion]:
        """Answer `prompts` together; see `Engine.generate`. It reports no log probabilities."""
        lengths = [self.count_tokens(prompt) for prompt in prompts]
        logits = self._network.logits(images_of(prompts)).astype(np.float64)
        completions = []
        for index, (length, row) in enumerate(zip(lengths, logits, strict=True)):
            decoding = decodings[index] if decodings else GREEDY
            digit = TokenChoice(decoding, end=()).choose(row)
            stop = StopStrings(decoding.stop)
            text = stop.add(str(digit)) + stop.rest()
            if on_token is not None:
                on_token(index, text)
            sure = float(np.exp(row[digit] - row.max()) / np.exp(row - row.max()).sum()) if confidence else None
            completions.append(Completion(text, 1, length, "stop", sure))
        return completions
