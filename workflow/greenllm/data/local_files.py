"""What a user's own files hold, in short: Snakemake compares it with last time's and runs again what reads a change."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from greenllm.config.models import Data, Model, Site
from greenllm.config.policy import Policy
from greenllm.data.gguf_model import is_gguf
from greenllm.data.model_files import names_in
from greenllm.errors import reason
from greenllm.files import sha256_of
from greenllm.model_folder.addresses import is_endpoint, is_packaged

# A larger file is known by its size and its time of modification: to read 100 GB of weights takes minutes, and each
# start of the workflow would.
LARGE_BYTES = 2**30
# The endings of the names of files that may define a task of lm-evaluation-harness.
TASK_FILES = ("yaml", "yml", "py")


def data_state(data: Data, folder: Path) -> list[str]:
    """Return the state of each local file of the data; relative paths start in `folder`. Empty if none is local."""
    paths = [folder / value for value in data.files.values()]
    return _states([file for path in paths for file in (task_files(path) if path.is_dir() else [path])])


def model_state(model: Model) -> list[str]:
    """Return the state of each file that is taken of a local model; empty if the model is not local."""
    path = Path(model.init)
    if is_packaged(model.init) or is_endpoint(model.init):
        return []
    if path.is_dir():
        return _states([path / name for name in names_in(path)])
    return _states([path]) if path.is_file() and is_gguf(path) else []


def site_state(site: Site) -> list[str]:
    """Return the state of the files that the footprint reads: the grid's recorded series, and tables of factors."""
    series = [] if site.series is None else [site.series]
    return _states([Path(file) for file in (*series, *site.factor_tables)])


def signal_state(policy: Policy) -> list[str]:
    """Return the state of the files by which the account says what a plan saved; empty if no plan is made."""
    if policy.objective is None:
        return []
    return _states([Path(file) for file in policy.recorded or policy.signal])


def task_files(folder: Path) -> list[Path]:
    """Return the files in a folder, and in those in it, that may define a task of lm-evaluation-harness."""
    return sorted(path for ending in TASK_FILES for path in folder.rglob(f"*.{ending}") if path.is_file())


def _states(files: Sequence[Path]) -> list[str]:
    return [f"{path}: {_state(path)}" for path in files]


@cache  # several experiments may read the same file
def _state(path: Path) -> str:
    """Return the SHA-256 of a file, or what stands for it."""
    try:
        status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns}" if status.st_size > LARGE_BYTES else sha256_of(path)
    except OSError as error:  # the job that reads it says so
        return reason(error)
