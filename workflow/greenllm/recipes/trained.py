"""Recipe step train: train from scratch, or go on from the parent, with the recipe's training settings."""

from typing import ClassVar, Literal

from greenllm.recipes.step import Job, Step


class Train(Step):
    """Train, with these settings instead of the defaults."""

    key: ClassVar[str] = "train"
    stage: ClassVar[Literal["train", "compress"]] = "train"
    trains_by: ClassVar[Literal["train", "recover"] | None] = "train"
    from_scratch: ClassVar[bool] = True

    def make(self, job: Job) -> None:
        """Train and write the model with its training.json."""
        from greenllm.training.saving import save
        from greenllm.training.sizes import SIZES, Decoder
        from greenllm.training.train import train

        trained = train(
            job.training,
            data=job.needed_data(),
            checkpoint_folder=job.needed_checkpoints(),
            seed=job.seed,
            threads=job.threads,
            device=job.device,
            model=Decoder(SIZES[job.model.size], job.model.context) if job.model else None,
            parent=job.parent,
            report_work=job.report_work,
        )
        save(trained, job)
