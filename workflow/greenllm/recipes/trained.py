"""Recipe step train: train from scratch, or train the parent further, with the recipe's training settings."""

from typing import ClassVar, Literal

from greenllm.recipes.step import Job, Step


class Train(Step):
    """Train, with these settings instead of the defaults."""

    key: ClassVar[str] = "train"
    stage: ClassVar[Literal["train", "compress"]] = "train"
    keeps_widths: ClassVar[bool] = True
    trains_by: ClassVar[Literal["train", "recover"] | None] = "train"
    from_scratch: ClassVar[bool] = True

    def make(self, job: Job) -> None:
        """Train and write the model with its training.json."""
        from greenllm.training.model_sizes import SIZES, Decoder
        from greenllm.training.saving import save

        model = Decoder(SIZES[job.model.size], job.model.context) if job.model else None
        save(job.train(model=model, parent=job.parent), job)
