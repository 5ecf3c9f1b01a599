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
        ruled = self.keys.get("set-resources") or {}
        own = ruled.get(rule) if isinstance(ruled, Mapping) else None
        return {**_pairs(self.keys.get("default-resources")), **_pairs(own)}


def read_profile(folder: Path) -> Profile:
    """Read a profile's folder. Raises ConfigError where it has no such file or the file is no mapping of keys."""
    named = [folder] if folder.is_file() else sorted(folder.glob("config*.yaml"))
    if not named:
        raise ConfigError([f"{folder}: no profile; expected a folder with config.yaml, such as profiles/slurm"])
    keys = read_yaml(named[-1])
    if not isinstance(keys, Mapping):
        raise ConfigError([f"{named[-1]}: expected keys such as executor and default-resources"])
    return Profile(named[-1], keys)


def _pairs(section: Any) -> dict[str, Any]:
    """Return a section that is a mapping, or a list of `name=value` as on the command line."""
    if isinstance(section, Mapping):
        return dict(section)
    items = section if isinstance(section, list) else []
    return {name: value for name, _, value in (str(item).partition("=") for item in items)}
