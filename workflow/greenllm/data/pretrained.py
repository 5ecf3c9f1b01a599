"""A model that is trained already, from a folder, a GGUF file, a Python package or the Hugging Face hub.

Weights are read from safetensors or GGUF, never from pickled files.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from greenllm.config.models import Model
from greenllm.data import hub
from greenllm.data.gguf_model import is_gguf, read_gguf, write_outline, write_weights
from greenllm.data.model_files import (
    LEFT_OUT,
    PATTERNS,
    SOURCE,
    WEIGHTS,
    names_in,
    require_model,
    require_whole,
    wanted,
)
from greenllm.data.model_use import ModelUse, require_usable
from greenllm.data.packaged_model import find_packaged
from greenllm.documents.model_source import ModelSource, SourceFile
from greenllm.errors import UserError
from greenllm.files import replacing_folder, require_replaceable, sha256_of
from greenllm.model_folder.addresses import address_problem, is_packaged, model_problem, with_version
from greenllm.model_folder.endpoint import Endpoint, served_names
from greenllm.model_folder.inspection import manifest_of
from greenllm.model_folder.manifest import FILE, Manifest
from greenllm.paths import expanded

STAGE = "collect-model"


@dataclass(frozen=True)
class _Found:
    """A model on this machine: a folder or a GGUF file. `revision` is the commit at the hub, or a package's version."""

    path: Path
    revision: str | None = None
    licence: str | None = None


def collect_model(init: str, revision: str | None, out: Path, use: ModelUse) -> None:
    """Write the model `init` to `out` as safetensors, with its origin in source.json.

    `init` is a folder, a GGUF file, `package:NAME`, or a hub id; `revision` is the commit at the hub or the package's
    version. What is known of the model is written to `out`/greenllm.json, unless the model brings that file.

    Raises UserError if there is no such model, no network, no config.json and safetensors in it, if it is not a causal
    language model, or if it can't be used as `use` says; the latter before weights are fetched.
    """
    named = expanded(Path(init))
    require_replaceable(out, STAGE, [named] if named.exists() else [])
    found = _find(init, named, revision, use)
    with replacing_folder(out, STAGE) as copy:
        if found.path.is_dir():
            names, licence, quantization = _copy(init, found.path, copy, use), found.licence, None
        else:
            require_usable(init, found.path, use)
            gguf = read_gguf(found.path)
            write_outline(gguf, copy)
            write_weights(gguf, copy)
            names = sorted(path.name for path in copy.iterdir())
            licence, quantization = found.licence or gguf.licence, gguf.quantization
        files = {name: SourceFile(bytes=(copy / name).stat().st_size, sha256=sha256_of(copy / name)) for name in names}
        source = ModelSource(id=init, revision=found.revision, licence=licence, quantization=quantization, files=files)
        source.write(copy / SOURCE)
        if FILE not in names:
            manifest_of(copy).write(copy)


def _find(init: str, named: Path, revision: str | None, use: ModelUse) -> _Found:
    """Return where the model `init` is; one at the hub is downloaded. `named` is `init` as a path."""
    if is_packaged(init):
        packaged = find_packaged(init, revision)
        return _Found(packaged.path, packaged.version, packaged.licence)
    if named.is_dir() or (named.is_file() and is_gguf(named)):
        return _Found(named)
    if is_gguf(init):
        raise UserError(f"{init}: no such GGUF file")
    if problem := model_problem(init):
        raise UserError(f"model.init: {problem}")
    if named.exists() or init.startswith((".", "/", "~")) or init.count("/") > 1:
        raise UserError(f"{init}: no such model folder; expected a folder with config.json, or a hub id (OWNER/NAME)")
    return _download(init, revision, use)


def _copy(init: str, folder: Path, copy: Path, use: ModelUse) -> list[str]:
    """Copy a model's files from a folder; return their names."""
    require_whole(init, folder)
    require_usable(init, folder, use)
    names = names_in(folder)
    for name in names:
        shutil.copyfile(folder / name, copy / name)
    return names


def note_endpoint(model: Model, out: Path) -> None:
    """Write a model folder that says how to ask the endpoint `model.init`; it holds neither the key nor weights.

    Raises UserError if the endpoint can't be reached, wants a key, or has no such model.
    """
    if problem := address_problem(model.init):
        raise UserError(f"model.init: {problem}")
    require_replaceable(out, STAGE)
    endpoint = Endpoint(
        url=with_version(model.init),
        served_name=model.served_name,
        chat=model.chat,
        system=model.system,
        key_variable=model.key_variable,
        cgroup=model.cgroup,
    )
    names = served_names(endpoint)
    if not names:
        raise UserError(f"{endpoint.url}: serves no model; start it with one")
    name = model.served_name or names[0]
    if name not in names:
        raise UserError(f"{endpoint.url}: model.served_name: no model {name!r} there; it has {', '.join(names)}")
    endpoint = endpoint.model_copy(update={"served_name": name})
    with replacing_folder(out, STAGE) as folder:
        Manifest(engine="openai-endpoint", precision=None, name=name, endpoint=endpoint).write(folder)


def _download(id: str, revision: str | None, use: ModelUse) -> _Found:
    """Return a model from the hub: first its small files, then, if these can be used, its weights."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import OfflineModeIsEnabled

    licence = None
    with hub.one_line_errors("model", id, revision):
        try:
            info = HfApi().model_info(id, revision=revision, timeout=20)
            names = [file.rfilename for file in info.siblings or []]
            if not any(map(wanted, names)) and (gguf := list(filter(is_gguf, names))):
                raise UserError(f"{id}: holds GGUF files; download one, such as {gguf[0]}, and name its path")
            require_model(id, list(filter(wanted, names)))
            revision = info.sha or revision
            licence = hub.licence(info.card_data)
        except OfflineModeIsEnabled:
            pass  # the local cache is enough
        small = [pattern for pattern in PATTERNS if pattern != WEIGHTS]
        place = snapshot_download(id, revision=revision, allow_patterns=small, ignore_patterns=list(LEFT_OUT))
        if Path(place, "config.json").is_file():
            require_usable(id, Path(place), use)
        place = snapshot_download(id, revision=revision, allow_patterns=list(PATTERNS), ignore_patterns=list(LEFT_OUT))
        return _Found(Path(place), revision, licence)
