"""A model that is trained already, from a local folder or the Hugging Face hub: safetensors, never pickled weights."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from greenllm.config.models import Model
from greenllm.data import hub
from greenllm.documents.model_source import ModelSource, SourceFile
from greenllm.errors import UserError
from greenllm.files import read_json, replacing_folder, require_replaceable, sha256_of
from greenllm.model_folder.addresses import address_problem, model_problem, with_version
from greenllm.model_folder.endpoint import Endpoint, served_names
from greenllm.model_folder.inspection import manifest_of
from greenllm.model_folder.manifest import FILE, Manifest
from greenllm.paths import expanded

STAGE = "collect-model"
SOURCE = "source.json"
# Weights, settings and tokenizer. Python files stay out: code that comes with a model is never run.
PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
# Weights once more in another layout.
LEFT_OUT = ("*/*", "consolidated*.safetensors")


def collect_model(init: str, revision: str | None, out: Path) -> None:
    """Copy the model `init` (folder, or hub id at `revision`) to `out`, with its origin in source.json.

    What is known of the model is written to `out`/greenllm.json, unless the model brings that file.

    Raises UserError if there is no such folder or id, no network, no config.json and safetensors in it, or if it is
    not a causal language model.
    """
    folder = expanded(Path(init))
    require_replaceable(out, STAGE, [folder] if folder.exists() else [])
    licence = None
    if folder.is_dir():
        revision = None
    elif problem := model_problem(init):
        raise UserError(f"model.init: {problem}")
    elif folder.exists() or init.startswith((".", "/", "~")) or init.count("/") > 1:
        raise UserError(f"{init}: no such model folder; expected a folder with config.json, or a hub id (OWNER/NAME)")
    else:
        folder, revision, licence = _download(init, revision)
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and _wanted(path.name))
    _check(init, folder, names)
    with replacing_folder(out, STAGE) as copy:
        for name in names:
            shutil.copyfile(folder / name, copy / name)
        files = {name: SourceFile(bytes=(copy / name).stat().st_size, sha256=sha256_of(copy / name)) for name in names}
        source = ModelSource(id=init, revision=revision, licence=licence, files=files)
        source.write(copy / SOURCE)
        if FILE not in names:
            manifest_of(copy).write(copy)


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


def _wanted(name: str) -> bool:
    if name == SOURCE:  # ours, if we made the folder
        return False
    return any(fnmatch(name, pattern) for pattern in PATTERNS) and not any(fnmatch(name, other) for other in LEFT_OUT)


def _download(id: str, revision: str | None) -> tuple[Path, str | None, str | None]:
    """Return the folder of a model from the hub, its revision and its licence."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import OfflineModeIsEnabled

    licence = None
    with hub.one_line_errors("model", id, revision):
        try:
            info = HfApi().model_info(id, revision=revision, timeout=20)
            names = [file.rfilename for file in info.siblings or []]
            _check(id, None, [name for name in names if _wanted(name)])
            revision = info.sha or revision
            licence = hub.licence(info.card_data)
        except OfflineModeIsEnabled:
            pass  # the local cache is enough
        place = snapshot_download(id, revision=revision, allow_patterns=list(PATTERNS), ignore_patterns=list(LEFT_OUT))
        return Path(place), revision, licence


def _check(init: str, folder: Path | None, names: list[str]) -> None:
    """Raise UserError if the files are not a model; in a folder, the shards that an index names are checked, too."""
    if "config.json" not in names:
        raise UserError(f"{init}: no config.json; expected a folder as transformers' save_pretrained writes it")
    if not any(name.endswith(".safetensors") for name in names):
        raise UserError(
            f"{init}: no *.safetensors; pickled weights (*.bin, *.pt) are never loaded, since they can run code: "
            "save the model again with save_pretrained"
        )
    index = "model.safetensors.index.json"
    if folder is not None and index in names:
        shards = set(read_json(folder / index, "fetch the model again").get("weight_map", {}).values())
        if missing := sorted(shards - set(names)):
            raise UserError(f"{init}: {index} names {missing[0]}, which is not there; fetch the model again")
