"""Recipe step distill: train a student on a teacher's probabilities and on the labels."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from greenllm.config.section import Name, Share, Strict
from greenllm.errors import UserError
from greenllm.recipes.step import Job, Step
from greenllm.training.model_sizes import SIZES, Decoder, Size


class Student(Strict):
    """Shape of a student; `student: tiny` (or small, base) is short for the shape of that size."""

    # Multiples of 32: weights are quantised in blocks of 32.
    hidden: int = Field(128, ge=32, multiple_of=32, description="Width.")
    layers: int = Field(2, ge=1, description="Layers.")
    feed_forward: int = Field(384, ge=32, multiple_of=32, description="Neurons of each feed-forward layer.")
    heads: int = Field(2, ge=1, description="Attention heads, of 64 each.")

    @model_validator(mode="after")
    def _divided_among_heads(self) -> Self:
        if self.hidden % self.heads:
            raise PydanticCustomError("heads", "expected a width (hidden) that is a multiple of heads")
        return self

    @model_validator(mode="before")
    @classmethod
    def _from_size(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given not in SIZES:
            raise PydanticCustomError("size", "expected tiny, small, base, or a shape")
        return asdict(SIZES[given])


class Distill(Step):
    """Train a student on a teacher's probabilities and the labels; settings in the recipe's `train`."""

    key: ClassVar[str] = "distill"
    stage: ClassVar[Literal["train", "compress"]] = "train"
    trains_by: ClassVar[Literal["train", "recover"] | None] = "train"
    from_scratch: ClassVar[bool] = True

    teacher: Name = Field(description="The recipe whose model teaches.")
    student: Student | None = Field(
        None,
        description="Shape of a student from scratch; null trains the parent or, without one, the default shape.",
    )
    temperature: float = Field(2, gt=0, description="Divides the logits of both models in the teacher's loss.")
    soft_weight: Share = Field(0.5, description="Weight of the teacher's loss; the labels' loss has the rest.")

    @property
    def others(self) -> tuple[str, ...]:
        """The teacher."""
        return (self.teacher,)

    def make(self, job: Job) -> None:
        """Train the student and write it with its training.json."""
        from greenllm.model_folder.inspection import context_of, try_to_count
        from greenllm.training.distillation import Distillation, load_teacher
        from greenllm.training.fingerprint import hashes_of
        from greenllm.training.method import Method
        from greenllm.training.saving import save

        parent = None if self.student else job.parent
        folder = self._teacher_folder(job)
        teacher = load_teacher(folder, data=job.needed_data(), student=parent)
        shape = self.student or Student()
        flops = try_to_count(teacher.config)
        trained = job.train(
            model=Decoder(Size(**shape.model_dump()), context_of(teacher.config, folder)),
            parent=parent,
            method=Method(
                criterion=Distillation(teacher, temperature=self.temperature, soft_weight=self.soft_weight),
                criterion_flops=flops.forward if flops else None,
                depends_on={"distill": self.model_dump(exclude={"teacher", "student"}), "teacher": hashes_of(folder)},
            ),
        )
        save(trained, job)

    def _teacher_folder(self, job: Job) -> Path:
        """Return the teacher's folder; raise UserError if the job does not have it."""
        if self.teacher not in job.others:
            raise UserError(f"--other {self.teacher}=FOLDER: is missing; expected the teacher's model folder")
        return job.others[self.teacher]
