"""Recipe step export: unchanged weights, moved to another engine. It shows what the engine alone saves."""

from typing import ClassVar, Literal, Self

from pydantic import Field

from greenllm.compression.settings import WithShortForm
from greenllm.recipes.step import Job, Step


class Export(WithShortForm, Step):
    """Move unchanged weights to another engine; `export: onnxruntime` is short for `export: {engine: onnxruntime}`."""

    key: ClassVar[str] = "export"
    stage: ClassVar[Literal["train", "compress"]] = "compress"
    keeps_widths: ClassVar[bool] = True
    final: ClassVar[bool] = True
    only_moves: ClassVar[bool] = True
    short_form: ClassVar[str] = "engine"

    engine: Literal["onnxruntime"] = Field(description="ONNX Runtime GenAI, on the CPU.")
    # ONNX Runtime 1.32 can't load the builder's bf16 graph on the CPU: it has no bf16 kernel of Where, for example. The
    # builder itself lists bf16 for GPUs alone.
    precision: Literal["fp32"] = Field(
        "fp32", description="Precision of weights and arithmetic; ONNX Runtime has bf16 only on GPUs."
    )

    @property
    def on_cpu(self) -> bool:
        """ONNX Runtime GenAI uses the CPU here."""
        return True

    def engine_alone(self) -> Self:
        """Return itself: nothing but the engine changes."""
        return self

    def make(self, job: Job) -> None:
        """Write the model for the other engine, with its size before and after; no work is reported."""
        from greenllm.compression.models import describe, report, require_floating_point
        from greenllm.compression.onnxruntime_builder import build

        parent = job.needed_parent()
        require_floating_point(parent)
        with job.writing() as folder:
            build(parent, folder, precision=self.precision, options={}, threads=job.threads)
            describe(folder, parent, engine="onnxruntime-genai", precision=self.precision)
            report(folder, parent, recipe="exported", **self.model_dump())
