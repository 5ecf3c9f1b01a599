"""evaluations/…/seed-N.predictions.jsonl: the answers to the test split, one a line, as evaluate writes them.

What a line has beside the answer depends on what the task's quality is computed from.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from greenllm.documents.document import Number, WrittenPart
from greenllm.errors import UserError


class AnswerSampling(WrittenPart):
    """How one answer was sampled."""

    temperature: Number
    top_p: Number
    seed: int


class Example(WrittenPart):
    """A row of the test split, as it is in the predictions.

    `prompt_ids` are the token ids of a prompt that a chat template made. `choices` are the answers to choose from, if
    the task has some. With sampling a row is asked several times: `draw` counts from 0.
    """

    id: str
    prompt: str
    completion: str
    subset: str | None = None
    choices: list[str] | None = None
    prompt_ids: list[int] | None = None
    draw: int | None = None
    sampling: AnswerSampling | None = None


class Prediction(Example):
    """An example and the model's answer, the lengths of answer and prompt in tokens.

    `completion` is the right answer, `prediction` the model's; with extraction it was found in the text `generated`.
    `confidence` is the probability of the answer (0 to 1), None if the engine reports none.
    """

    prediction: str
    generated: str | None = None
    tokens: int
    prompt_tokens: int
    finish_reason: Literal["stop", "length"]
    confidence: Number | None = None


class Score(WrittenPart):
    """What a prediction says beside the answer; nothing where the answer itself is scored."""


class TextScore(Score):
    """How likely the model finds the whole text: -log p (nats), and the number of scored tokens and bytes."""

    nats: Number
    scored_tokens: int
    scored_bytes: int


class ChoiceScore(Score):
    """How likely the model finds each choice after the prompt: -log p (nats)."""

    choice_nats: list[Number]


class HarnessScore(Score):
    """One document's metrics as lm-evaluation-harness computes them.

    `score` is the one that recipes are compared by, higher is better. `chance` is that of a model that ignores its
    input: of one that draws a choice, -8 (bits per byte), or 0; None where it is unknown.
    """

    score: Number
    chance: Number | None
    metrics: dict[str, Number]


class TextPrediction(Prediction, TextScore):
    """A prediction of which the text's likelihood is scored."""


class ChoicePrediction(Prediction, ChoiceScore):
    """A prediction of which the likeliest choice is scored."""

    choices: list[str]


class HarnessPrediction(Prediction, HarnessScore):
    """A prediction that lm-evaluation-harness scored."""


Predicted = TypeVar("Predicted", bound=Prediction)


def read_predictions(path: Path, kind: type[Predicted]) -> list[Predicted]:
    """Return the lines of a file. Raises UserError, which names the row, if one is no prediction of this kind."""
    found = []
    with path.open(encoding="utf-8", newline="\n") as file:  # an answer may hold other line separators
        for number, line in enumerate(file, start=1):
            try:
                found.append(kind.model_validate(json.loads(line)))
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{path}: row {number}: expected one JSON object per line: {error}; run evaluate again"
                ) from None
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                place = ": ".join([str(path), f"row {number}", *map(str, first["loc"])])
                raise UserError(f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}; run evaluate again") from None
    return found


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write the lines of a file."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one.model_dump(), ensure_ascii=False) + "\n" for one in predictions)
