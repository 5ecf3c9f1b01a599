"""Whether a served model answers as it did when its quality was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.load.rounds import Answered


@dataclass(frozen=True)
class Agreement:
    """How many answers are those that evaluate got. No answer is not evaluate's answer either."""

    equal: int
    compared: int
    reasons: Sequence[str]

    @property
    def share(self) -> float:
        """Share of equal answers."""
        return self.equal / self.compared

    def told(self, least: float) -> str:
        """Return in one line that the share is less than `least`, and why."""
        return (
            f"{self.equal} of {self.compared} answers are those of evaluate, fewer than "
            f"deploy.agreement {least} allows: {'; '.join(self.reasons)}"
        )


def agreement_of(answers: Sequence[Answered], predictions: Mapping[str, str | None]) -> Agreement:
    """Compare answers with evaluate's `predictions`, by id."""
    failed = [answer for answer in answers if answer.error is not None]
    answered = [answer for answer in answers if answer.error is None]
    differing = [answer for answer in answered if answer.text != predictions[answer.id]]
    reasons = []
    if failed:
        reasons.append(f"{len(failed)} failed, the first (id {failed[0].id}): {failed[0].error}")
    if differing:
        first = differing[0]
        instead = f"{first.text!r} instead of {predictions[first.id]!r}"
        reasons.append(f"{len(differing)} differ, the first (id {first.id}): {instead}")
    return Agreement(len(answered) - len(differing), len(answers), reasons)
