"""`greenllm compress`: make a smaller or faster model from a trained one."""

import argparse
import os
import shutil
from pathlib import Path

from greenllm.config.models import Recipe
from greenllm.config.read import read_settings
from greenllm.errors import UserError
from greenllm.files import replacing_folder, write_json
from greenllm.serving.engines.manifest import read_manifest
from greenllm.threads import usable_threads


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--settings", required=True, help="the recipe: JSON or YAML, or a file of it")
    parser.add_argument("--from", dest="parent", type=Path, required=True, help="folder of the model to compress")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and compression.json (bytes)")


def run(arguments: argparse.Namespace) -> int:
    """Write the compressed model, with its size before and after.

    No work is written: it reads no samples or tokens, answers no requests, and its operations are not counted.
    """
    recipe = read_settings(arguments.settings, Recipe)
    if recipe.quantize is None:
        raise UserError("--settings: quantize is missing; expected a recipe that compresses, such as {quantize: int8}")
    parent = arguments.parent
    if (engine := read_manifest(parent).engine) != "transformers":
        raise UserError(f"{parent}: is quantised already ({engine}); start from the model it was made of")
    threads = usable_threads(arguments.threads)
    # Read once, when the libraries are imported.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["HF_HUB_OFFLINE"] = "1"

    from greenllm.data.tokenizer import TOKENIZER_FILES
    from greenllm.recipes.int8 import quantize_int8
    from greenllm.recipes.manifest import manifest

    described = manifest(parent, engine="onnxruntime-genai", precision="int8")
    with replacing_folder(arguments.out) as folder:
        quantize_int8(parent, folder, threads=threads)
        for name in TOKENIZER_FILES:
            (folder / name).unlink(missing_ok=True)  # the builder writes its own version
            if (parent / name).is_file():
                shutil.copy(parent / name, folder / name)
        write_json(folder / "greenllm.json", described)
        write_json(
            folder / "compression.json",
            {
                "schema": "greenllm/compression/1",
                "recipe": recipe.quantize,
                "parameters": described["parameters"],
                "bytes": {
                    "before": sum(file.stat().st_size for file in parent.glob("*.safetensors")),
                    "after": sum(file.stat().st_size for file in folder.glob("*.onnx*")),
                },
            },
        )
    return 0
