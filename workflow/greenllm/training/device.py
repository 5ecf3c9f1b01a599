"""Hardware of a training: CPU or GPU, precision, deterministic algorithms, peak memory."""

import os
import resource
import sys

import torch

from greenllm.accelerator import uses_gpu
from greenllm.device_choice import DeviceChoice
from greenllm.errors import UserError
from greenllm.training.parallel import ALONE, Rank


def prepare_device(device: DeviceChoice, threads: int, rank: Rank = ALONE) -> bool:
    """Set this process's threads and return whether to train on a GPU. A single process takes the first visible one.

    Raises `UserError` if a GPU is required and none can be used.
    """
    torch.set_num_threads(threads)
    if not uses_gpu(device):
        return False
    if torch.cuda.device_count() > rank.count and rank.is_first:
        print(f"train: uses {rank.count} of the {torch.cuda.device_count()} GPUs that it may use", file=sys.stderr)
    return True


def precision_of(asked: str, on_gpu: bool) -> str:
    """Return `bf16` if it is requested, or on `auto` if the hardware supports it; else `fp32`.

    Raises `UserError` if it is requested and the GPU does not support it.
    """
    if asked == "bf16" and on_gpu and not has_bf16(on_gpu):
        raise UserError("train.precision: bf16, but this GPU does not compute in it; set auto or fp32")
    return "fp32" if asked == "fp32" or (asked == "auto" and not has_bf16(on_gpu)) else "bf16"


def has_bf16(on_gpu: bool) -> bool:
    """Return whether the GPU, or else the CPU, computes in bf16 without emulation."""
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16") or can.get("bf16"))


def be_deterministic(on_gpu: bool) -> None:
    """Choose algorithms that give the same bits each time (docs.pytorch.org/docs/stable/notes/randomness.html)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On a GPU a few operations of some architectures have no deterministic form: PyTorch warns of them.
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    # Filling new memory with NaN helps to find bugs but slows each allocation down.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def peak_memory_bytes(on_gpu: bool) -> int:
    """Return this process's peak memory: of its tensors on a GPU, else its resident memory."""
    if on_gpu:
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
