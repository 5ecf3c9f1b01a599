"""Sampled answers: each example is asked several times, each time with a seed of its own."""

from collections.abc import Sequence

from greenllm.config.models import Sampling
from greenllm.documents.prediction import AnswerSampling, Example
from greenllm.engines.decoding_choice import GREEDY, Decoding


def drawn(examples: Sequence[Example], sampling: Sampling | None) -> tuple[list[Example], list[Decoding]]:
    """Return each example as often as it is asked, and how each answer is decoded; greedily without `sampling`.

    An example's line in the predictions then says which draw it is, and how it was sampled: a deployed server is asked
    in the same way.
    """
    if sampling is None:
        return list(examples), [GREEDY] * len(examples)
    asked: list[Example] = []
    decodings: list[Decoding] = []
    for number, example in enumerate(examples):
        for draw in range(sampling.draws):
            seed = sampling.seed + number * sampling.draws + draw
            decodings.append(Decoding(temperature=sampling.temperature, top_p=sampling.top_p, seed=seed))
            how = AnswerSampling(temperature=sampling.temperature, top_p=sampling.top_p, seed=seed)
            asked.append(example.extended(draw=draw, sampling=how))
    return asked, decodings
