"""A PyTorch that says what it can compute on, for hosts with simulated GPUs."""

from pathlib import Path

# A PyTorch as an installation shows itself to who asks whether it can compute: there is none with CUDA without a GPU.
VERSION = "__version__ = {version!r}\ncuda = {cuda!r}\n"
TORCH = """
import warnings
from types import SimpleNamespace
def is_available():
    if {warning!r}: warnings.warn({warning!r})
    return {available}
cuda = SimpleNamespace(
    is_available=is_available, device_count=lambda: 1, get_arch_list=lambda: {built!r},
    get_device_name=lambda index: "Simulated GPU", get_device_capability=lambda index: {card!r},
)
"""


def torch_of(
    folder: Path,
    version: str = "2.13.0",
    cuda: str | None = "13.0",
    warning: str = "",
    available: bool = True,
    card: tuple[int, int] = (8, 6),
) -> Path:
    """Write a PyTorch of a build, and return its folder for PYTHONPATH."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch/version.py").write_text(VERSION.format(version=version, cuda=cuda))
    built = ["sm_75", "sm_80", "compute_120"]
    (folder / "torch/__init__.py").write_text(
        TORCH.format(warning=warning, available=available, built=built, card=card)
    )
    return folder
