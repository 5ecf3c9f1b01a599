"""harness.json: the tasks of lm-evaluation-harness that a data set holds, as `collect` and `preprocess` write it."""

from typing import ClassVar

from greenllm.documents.document import Document

FILE = "harness.json"


class HarnessSelection(Document):
    """The selected tasks; `chat` and `system` are added by `preprocess`."""

    stage: ClassVar[str] = "collect"
    schema_name: ClassVar[str] = "greenllm/harness/1"

    tasks: list[str]
    num_fewshot: int | None
    include_path: str | None
    """Absolute path of the folder with the user's task files."""
    metric: str | None
    chat: bool = False
    """Whether prompts are put into the model's chat template."""
    system: str | None = None
    """With `chat`: the system message before each prompt."""
