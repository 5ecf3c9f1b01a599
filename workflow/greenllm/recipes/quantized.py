"""Recipe step quantize: weights in 8 or 4 bits, by ONNX Runtime GenAI's model builder or by torchao."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from greenllm.compression.settings import ByFormat
from greenllm.errors import UserError
from greenllm.recipes.exported import Export
from greenllm.recipes.step import Job, Step
from greenllm.training.model_sizes import SIZES

if TYPE_CHECKING:
    from greenllm.config.models import Experiment


class Quantize(ByFormat, Step):
    """Quantise the weights; `quantize: int8` is short for `quantize: {format: int8}`."""

    key: ClassVar[str] = "quantize"
    stage: ClassVar[Literal["train", "compress"]] = "compress"
    final: ClassVar[bool] = True

    format: Literal["int8", "int4"] = Field(description="Format of the weights.")
    library: Literal["onnxruntime", "torchao"] = Field(
        "onnxruntime", description="ONNX Runtime GenAI for the CPU, or torchao (the extra `gpu`) for a GPU."
    )
    method: Literal["default", "rtn", "k_quant", "rtn_last", "k_quant_last", "k_quant_mixed"] = Field(
        "default",
        description="ONNX Runtime: round to nearest (`default`, `rtn`) or k-quant; int4 keeps the last layer "
        "(`…_last`) or all sensitive layers (`k_quant_mixed`) in int8.",
    )
    block: Literal[16, 32, 64, 128, 256] = Field(
        32, description="Number of weights that share a scale (torchao's int8: one scale per row)."
    )

    @model_validator(mode="after")
    def _method_has_a_library(self) -> Self:
        if self.library == "torchao" and self.method != "default":
            raise PydanticCustomError("method", "method is for ONNX Runtime; leave it out with library: torchao")
        if self.library == "torchao" and self.format == "int4" and self.block == 16:
            raise PydanticCustomError("block", "torchao's int4 has blocks of 32, 64, 128 or 256 weights")
        return self

    @property
    def on_cpu(self) -> bool:
        """Whether the engine is ONNX Runtime GenAI, which uses the CPU here."""
        return self.library == "onnxruntime"

    @property
    def changes(self) -> str | None:
        """The format of the weights."""
        return self.format

    def engine_alone(self) -> Export | None:
        """Return the export to ONNX Runtime; None for torchao, whose models PyTorch runs."""
        return Export(engine="onnxruntime") if self.library == "onnxruntime" else None

    def check(self, experiment: "Experiment", before: "Sequence[Step]") -> None:
        """Raise UserError if torchao is required but missing, or a layer's width is no multiple of `block`."""
        if self.library == "torchao" and find_spec("torchao") is None:
            raise UserError("quantize.library: needs the environment with torchao, which `make gpu` makes")
        in_blocks = self.library == "onnxruntime" or self.format == "int4"
        # A step in between may change the widths, and a pretrained model is not here yet: `make` checks these.
        if in_blocks and experiment.model.init == "scratch" and all(step.keeps_widths for step in before):
            size = SIZES[experiment.model.size]
            for width in (size.hidden, size.feed_forward):
                if width % self.block:
                    raise UserError(
                        f"quantize.block: {self.block} weights share a scale, but a layer of the size "
                        f"{experiment.model.size} is {width} wide; expected a number that divides it"
                    )

    def make(self, job: Job) -> None:
        """Write the quantised model, with its size before and after.

        No work is reported: quantisation reads no samples or tokens, and its operations are not counted.
        """
        from greenllm.compression.models import describe, report, require_floating_point, require_whole_blocks

        parent = job.needed_parent()
        require_floating_point(parent)
        if self.library == "onnxruntime" or self.format == "int4":
            require_whole_blocks(parent, self.block)
        with job.writing() as folder:
            if self.library == "onnxruntime":
                from greenllm.compression.onnxruntime_builder import build

                options = {"algo_config": self.method, "block_size": self.block}
                build(parent, folder, precision=self.format, options=options, threads=job.threads)
            else:
                from greenllm.compression.torchao import quantize
                from greenllm.training.device import prepare_device

                on_gpu = prepare_device(job.device, job.threads)
                quantize(parent, folder, precision=self.format, block=self.block, on_gpu=on_gpu)
            engine: Literal["transformers", "onnxruntime-genai"] = (
                "onnxruntime-genai" if self.library == "onnxruntime" else "transformers"
            )
            describe(folder, parent, engine=engine, precision=self.format)
            report(folder, parent, recipe=self.format, **self.model_dump(exclude={"format"}))
