"""A model that is already trained, from a local folder or the Hugging Face hub: safetensors, never pickled weights."""

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from greenllm.config.models import Model
from greenllm.data import hub
from greenllm.errors import UserError
from greenllm.files import read_json, replacing_folder, require_replaceable, sha256_of, write_json
from greenllm.model_folder.addresses import address_problem, model_problem, with_version
from greenllm.model_folder.endpoint import Endpoint, served_names
from greenllm.model_folder.manifest import FILE, Manifest
from greenllm.model_folder.written import manifest
from greenllm.paths import expanded

STAGE = "collect-model"
# Weights, settings and tokenizer. Python files stay out: code that comes with a model is never run.
PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
# Weights once more in another layout.
LEFT_OUT = ("*/*", "consolidated*.safetensors")


def collect_model(init: str, revision: str | None, out: Path) -> dict[str, Any]:
    """Copy the model `init` (folder, or hub id at `revision`) to `out` and return the card, `out`/source.json.

    What is known of the model goes to `out`/greenllm.json, unless it brings that.

    Raises UserError where there is no such folder or id, no network, no config.json and safetensors in it, or where
    it is no causal language model.
    """
    folder = expanded(Path(init))
    require_replaceable(out, STAGE, [folder] if folder.exists() else [])
    card: dict[str, Any] = {"schema": "greenllm/model-card/1", "id": init, "revision": revision, "licence": None}
    if folder.is_dir():
        card["revision"] = None
    elif problem := model_problem(init):
        raise UserError(f"model.init: {problem}")
    elif folder.exists() or init.startswith((".", "/", "~")) or init.count("/") > 1:
        raise UserError(f"{init}: no such model folder; expected a folder with config.json, or a hub id (OWNER/NAME)")
    else:
        folder = _download(init, revision, card)
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and _wanted(path.name))
    _check(init, folder, names)
    with replacing_folder(out, STAGE) as copy:
        for name in names:
            shutil.copyfile(folder / name, copy / name)
        card["files"] = {
            name: {"bytes": (copy / name).stat().st_size, "sha256": sha256_of(copy / name)} for name in names
        }
        write_json(copy / "source.json", card)
        if FILE not in names:
            write_json(copy / FILE, manifest(copy, engine="transformers", precision="fp32"))
    return card


def note_endpoint(model: Model, out: Path) -> None:
    """Write a model folder that says how the endpoint `model.init` is asked; the key is not in it, nor any weights.

    Raises UserError where the endpoint can't be reached, wants a key, or has no such model.
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
    manifest = Manifest(engine="openai-endpoint", precision=None, name=name, endpoint=endpoint)
    with replacing_folder(out, STAGE) as folder:
        write_json(folder / FILE, manifest.model_dump(by_alias=True))


def _wanted(name: str) -> bool:
    if name == "source.json":  # ours, where the folder is one that we made
        return False
    return any(fnmatch(name, pattern) for pattern in PATTERNS) and not any(fnmatch(name, other) for other in LEFT_OUT)


def _download(id: str, revision: str | None, card: dict[str, Any]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import OfflineModeIsEnabled

    with hub.one_line_errors("model", id, revision):
        try:
            info = HfApi().model_info(id, revision=revision, timeout=20)
            names = [file.rfilename for file in info.siblings or []]
            _check(id, None, [name for name in names if _wanted(name)])
            card["revision"] = revision = info.sha or revision
            card["licence"] = hub.licence(info.card_data)
        except OfflineModeIsEnabled:
            pass  # what is in the local cache will do
        return Path(
            snapshot_download(id, revision=revision, allow_patterns=list(PATTERNS), ignore_patterns=list(LEFT_OUT))
        )


def _check(init: str, folder: Path | None, names: list[str]) -> None:
    """Raise UserError where the files make no model; the shards an index names are checked in a folder."""
    if "config.json" not in names:
        raise UserError(f"{init}: no config.json; expected a folder as transformers' save_pretrained writes it")
    if not any(name.endswith(".safetensors") for name in names):
        raise UserError(
            f"{init}: no *.safetensors; pickled weights (*.bin, *.pt) are never loaded, since they can run code: "
            "save the model anew with save_pretrained"
        )
    index = "model.safetensors.index.json"
    if folder is not None and index in names:
        shards = set(read_json(folder / index, "fetch the model again").get("weight_map", {}).values())
        if missing := sorted(shards - set(names)):
            raise UserError(f"{init}: {index} names {missing[0]}, which is not there; fetch the model again")
