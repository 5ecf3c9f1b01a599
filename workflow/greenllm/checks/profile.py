"""A workflow profile: the executor that it names, and the resources that its jobs ask a cluster for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.config.read import ConfigError, read_yaml

STAGES = ("collect", "preprocess", "train", "compress", "evaluate", "deploy", "measure")


@dataclass(frozen=True)
class Profile:
    """A profile's keys, and where they were read."""

    file: Path
    keys: Mapping[str, Any]

    @property
    def executor(self) -> str:
        """The executor's name; `local` without one."""
        return str(self.keys.get("executor", "local"))

    def resources(self, rule: str) -> dict[str, Any]:
        """Return what the profile asks for a rule's jobs, by resource; the rule's own keys win over the defaults."""
        return {**_pairs(self.keys.get("default-resources")), **self.set_resources(rule)}

    def set_resources(self, rule: str) -> dict[str, Any]:
        """Return what the profile sets for this rule alone: it wins over what the rule itself asks for."""
        ruled = self.keys.get("set-resources")
        if isinstance(ruled, list):  # `rule:name=value`, as on the command line
            return _pairs([text for name, _, text in (str(item).partition(":") for item in ruled) if name == rule])
        return _pairs(ruled.get(rule)) if isinstance(ruled, Mapping) else {}

    def threads(self, rule: str) -> Any:
        """Return the number of threads that the profile sets for a rule's jobs; None where it sets none."""
        return _pairs(self.keys.get("set-threads")).get(rule)


def read_profile(folder: Path) -> Profile:
    """Read the file that Snakemake reads of a profile: its folder may have one for each version of Snakemake.

    Raises ConfigError where there is no such file, or the file is no mapping of keys.
    """
    from snakemake.cli import get_profile_dir  # takes a second to import

    if (found := get_profile_dir(str(folder))) is None:
        raise ConfigError([f"{folder}: no profile; expected a folder with config.yaml, such as profiles/slurm"])
    file: Path = found[1]
    keys = read_yaml(file)
    if not isinstance(keys, Mapping):
        raise ConfigError([f"{file}: expected keys such as executor and default-resources"])
    return Profile(file, keys)


def _pairs(section: Any) -> dict[str, Any]:
    """Return a section that is a mapping, or a list of `name=value` as on the command line."""
    items = section if isinstance(section, list) else []
    pairs = section.items() if isinstance(section, Mapping) else [str(item).partition("=")[::2] for item in items]
    return {name: _unquoted(value) if isinstance(value, str) else value for name, value in pairs}


def _unquoted(text: str) -> str:
    """Return a text without the quotes around it: Snakemake evaluates texts as Python, so they may be in quotes."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def whole(value: Any, otherwise: int) -> int:
    """Return a resource as a whole number; `otherwise` where it is none, such as an expression of the attempt."""
    return int(value) if str(value).isdecimal() else otherwise
