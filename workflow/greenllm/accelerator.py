"""Whether PyTorch can compute on the GPUs that this process may use, and if not, why.

The Python of another environment runs this file too, so it needs only the standard library and PyTorch.
"""

import importlib.util
import os
import re
import runpy
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenllm.device_choice import DeviceChoice

TABLE = "README.md, On a GPU: a table of drivers and builds"


def uses_gpu(device: "DeviceChoice") -> bool:
    """Return whether to compute on a GPU. If this job has a GPU that it can't use, warn on standard error why.

    Raises `UserError` if a GPU is required and none can be used.
    """
    from greenllm.errors import UserError

    if device == "cpu":
        return False
    reason = why_unusable()
    if device == "require" and reason:
        raise UserError(f"device `require`, but PyTorch sees no GPU that it can use: {reason}; or set device: auto")
    if reason and os.environ.get("CUDA_VISIBLE_DEVICES"):  # set by the meter or a scheduler
        print(f"greenllm: warning: computes on the CPU, and leaves its GPU idle: {reason}", file=sys.stderr)
    return reason is None


def why_unusable() -> str | None:
    """Return why PyTorch can't compute on any GPU, and what to do about it.

    None if it can, and without PyTorch, since it is unknown which library computes instead.
    """
    if (build := _build()) is None:
        return None
    version, cuda = build
    if cuda is None:
        return f"PyTorch {version} is built without CUDA; install a build for the driver ({TABLE})"
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sees_one = torch.cuda.is_available()
    if sees_one:
        return _without_code(version)
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES allows none; unset it, or name GPUs in it"
    trouble = " ".join(str(warning.message) for warning in said).removeprefix("CUDA initialization: ")
    if "too old" in trouble:
        # cudaDriverGetVersion: 1000 · major + 10 · minor
        known = re.search(r"found version (\d+)0(\d)0\b", trouble)
        driver = f"the driver, for CUDA {known[1]}.{known[2]}," if known else "the driver"
        return (
            f"{driver} is too old for PyTorch {version}, built for CUDA {cuda}; install a newer driver or another "
            f"build ({TABLE})"
        )
    because = trouble.split(". ")[0].split(" (Triggered")[0].rstrip(".")
    return f"PyTorch {version} finds none{f' ({because})' if because else ''}; see what `nvidia-smi` says"


def _build() -> tuple[str, str | None] | None:
    """Return PyTorch's version and the CUDA version of its build, without importing it, which takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        module = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    except OSError:
        return None
    return str(module["__version__"]), module["cuda"]


def _without_code(version: str) -> str | None:
    """Return the problem if PyTorch has code for none of the GPUs, else None.

    Binary code for X.y runs on X.z with z >= y, and intermediate code on everything newer (CUDA C++ Programming
    Guide, compute capabilities).
    """
    import torch

    built = torch.cuda.get_arch_list()
    if not built:
        return None
    found = re.findall(r"(sm|compute)_(\d+)(\d)", " ".join(built))
    codes = [(kind, int(major), int(minor)) for kind, major, minor in found]
    cards = []
    for index in range(torch.cuda.device_count()):
        own = torch.cuda.get_device_capability(index)
        if any((major, minor) <= own and (kind == "compute" or major == own[0]) for kind, major, minor in codes):
            return None
        cards.append(f"{torch.cuda.get_device_name(index)} (sm_{own[0]}{own[1]})")
    return (
        f"PyTorch {version} has no code for {', '.join(cards)}: it is built for {', '.join(built)}; install another "
        f"build ({TABLE})"
    )


if __name__ == "__main__":
    print(why_unusable() or "")
