"""Whether a served model's answers are those that its quality was measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.load.rounds import Answered


@dataclass(frozen=True)
class AnswerAgreement:
    """The number of answers that equal evaluate's. A failed request counts as a different answer."""

    equal: int
    compared: int
    reasons: Sequence[str]

    @property
    def share(self) -> float:
        """Share of equal answers."""
        return self.equal / self.compared

    def problem(self, least: float) -> str:
        """Return a line that says that the share is less than `least`, with the reasons."""
        return (
            f"{self.equal} of {self.compared} answers equal evaluate's, fewer than "
            f"deploy.agreement {least} allows: {'; '.join(self.reasons)}"
        )


def agreement_of(answers: Sequence[Answered], predictions: Mapping[str, str | None]) -> AnswerAgreement:
    """Compare answers with evaluate's `predictions` (id → answer)."""
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
    return AnswerAgreement(len(answered) - len(differing), len(answers), reasons)
