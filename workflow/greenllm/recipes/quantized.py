"""Recipe step quantize: weights in 8 bits, by ONNX Runtime GenAI's model builder."""

import shutil
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from greenllm.errors import UserError
from greenllm.files import replacing_folder, write_json
from greenllm.recipes.step import Job, Step


class Quantize(Step):
    """Quantise the weights; `quantize: int8` is short for `quantize: {format: int8}`."""

    key: ClassVar[str] = "quantize"
    stage: ClassVar[Literal["train", "compress"]] = "compress"
    final: ClassVar[bool] = True

    format: Literal["int8"] = Field(description="Format of the weights.")

    @model_validator(mode="before")
    @classmethod
    def _from_format(cls, given: Any) -> Any:
        return {"format": given} if isinstance(given, str) else given

    @property
    def on_cpu(self) -> bool:
        """ONNX Runtime GenAI's engine uses the CPU here."""
        return True

    def make(self, job: Job) -> None:
        """Write the quantised model, with its size before and after.

        No work is reported: it reads no samples or tokens, and its operations are not counted.
        """
        from greenllm.data.tokenizer import TOKENIZER_FILES
        from greenllm.recipes.onnxruntime_builder import quantize_int8
        from greenllm.serving.engines.manifest import read_manifest
        from greenllm.training.manifest import manifest

        parent = job.needed_parent()
        if (engine := read_manifest(parent).engine) != "transformers":
            raise UserError(f"{parent}: is quantised already ({engine}); start from the model it was made of")
        described = manifest(parent, engine="onnxruntime-genai", precision="int8")
        with replacing_folder(job.out) as folder:
            quantize_int8(parent, folder, threads=job.threads)
            for name in TOKENIZER_FILES:
                (folder / name).unlink(missing_ok=True)  # the builder writes its own version
                if (parent / name).is_file():
                    shutil.copy(parent / name, folder / name)
            write_json(folder / "greenllm.json", described)
            write_json(
                folder / "compression.json",
                {
                    "schema": "greenllm/compression/1",
                    "recipe": self.format,
                    "parameters": described["parameters"],
                    "bytes": {
                        "before": sum(file.stat().st_size for file in parent.glob("*.safetensors")),
                        "after": sum(file.stat().st_size for file in folder.glob("*.onnx*")),
                    },
                },
            )
