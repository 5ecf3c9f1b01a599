"""Recipe step classifier: the article's network of 784, 128 and 10 units, in PyTorch or TensorFlow."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from greenllm.errors import UserError
from greenllm.recipes.step import Job, Step

if TYPE_CHECKING:
    from greenllm.config.models import Experiment

TOKENS = 65  # of a row: 64 grey values and the digit
DIGITS = tuple("0123456789")


class Classifier(Step):
    """Train the article's classifier of digits (784-128-10, SGD), instead of a language model."""

    key: ClassVar[str] = "classifier"
    stage: ClassVar[Literal["train", "compress"]] = "train"
    from_scratch: ClassVar[bool] = True
    takes_parent: ClassVar[bool] = False
    final: ClassVar[bool] = True
    has_context: ClassVar[bool] = False

    framework: Literal["pytorch", "tensorflow"] = Field(description="What it is written in; TensorFlow by Keras 3.")
    epochs: int = Field(10, ge=1, description="Passes over the training images.")
    batch: int = Field(32, ge=1, description="Images a step.")
    learning_rate: float = Field(0.01, gt=0, description="Of plain SGD.")

    @property
    def on_cpu(self) -> bool:
        """A network of 100,000 weights is compared on the CPU, in both frameworks."""
        return True

    @property
    def environment(self) -> str | None:
        """TensorFlow is too large to come with the project: it has a separate environment."""
        return "tensorflow" if self.framework == "tensorflow" else None

    def check(self, experiment: "Experiment", before: "Sequence[Step]") -> None:
        """Raise UserError if the experiment's task is not digits."""
        if experiment.task != "digits":
            raise UserError(f"classifier is for the task digits, not for {experiment.task}")

    def make(self, job: Job) -> None:
        """Train and write the network with its training.json."""
        import numpy as np

        from greenllm.classifier import FORWARD_FLOPS, PARAMETERS, new_network
        from greenllm.classifier.images import images_of
        from greenllm.data.tables import read_table
        from greenllm.documents.training import TrainingReport
        from greenllm.model_folder.flops import Flops
        from greenllm.model_folder.manifest import Manifest
        from greenllm.model_folder.weights import make_readable
        from greenllm.training.planned_batches import Work

        file = job.needed_data() / "train.parquet"
        rows = read_table(file)
        try:
            images = images_of([row["prompt"] for row in rows])
            digits = np.array([_digit(row["completion"]) for row in rows])
        except ValueError as error:
            raise UserError(f"{file}: {error}; the recipe classifier is for the task digits") from None
        network = new_network(self.framework, seed=job.seed, threads=job.threads)
        losses: list[dict[str, int | float]] = []

        def done(epoch: int, loss: float) -> None:
            losses.append({"epoch": epoch, "loss": loss})
            print(f"train: epoch {epoch} of {self.epochs}: loss {loss:.4f} nats", file=sys.stderr)

        network.train(images, digits, epochs=self.epochs, batch=self.batch, learning_rate=self.learning_rate, done=done)
        samples = self.epochs * len(images)
        work = Work(samples=samples, tokens=samples * TOKENS, flops=3.0 * FORWARD_FLOPS * samples)
        job.report_work(work)
        manifest = Manifest(
            engine="classifier-pytorch" if self.framework == "pytorch" else "classifier-tensorflow",
            parameters=PARAMETERS,
            context=TOKENS,
            task="digits",
            forward_flops=Flops(per_token=FORWARD_FLOPS / (TOKENS - 1), per_pair=0.0),
        )
        report = TrainingReport(
            framework=network.version,
            parameters=PARAMETERS,
            steps=self.epochs * -(-len(images) // self.batch),
            epochs=self.epochs,
            tokens=work.tokens,
            samples=work.samples,
            flops=work.flops,
            precision="fp32",
            threads=job.threads,
            device="cpu",
            seed=job.seed,
            world_size=1,
            resumed_from_step=None,
            stopped_early=False,
            loss=losses,
        )
        with job.writing() as folder:
            network.save(folder)
            make_readable(folder)
            manifest.write(folder)
            report.write(folder / "training.json")


def _digit(text: str) -> int:
    if text.strip() not in DIGITS:
        raise ValueError(f"{text!r}: expected a digit from 0 to 9")
    return int(text)
