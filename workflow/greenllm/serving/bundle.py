"""The bundle: a folder with a model, a script that serves it, and a model card."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

from greenllm.documents.evaluation import EvaluationReport
from greenllm.files import link_or_copy, replacing_folder, write_json
from greenllm.model_folder.manifest import FILE, read_manifest
from greenllm.serving.model_card import model_card
from greenllm.serving.scripted_replies import FILE as REPLIES
from greenllm.serving.scripted_replies import Replies
from greenllm.tokens import read_settings_file
from greenllm.training.saving import ADAPTER
from greenllm.written import RECORD

CARD = "README.md"
SERVE = "serve"
OURS = (FILE, CARD, SERVE, REPLIES)
# Formats that can run code when they are read (pickle), or that no engine here reads.
LEFT_OUT = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".ot"}


def make_bundle(
    model: Path,
    evaluation: EvaluationReport | None,
    wildcards: Mapping[str, str],
    out: Path,
    *,
    task: str | None = None,
    replies: Replies | None = None,
) -> None:
    """Make a bundle of a model folder; the same inputs make the same bytes.

    Files are hard links if the file system has them (so change none in place), else copies. `evaluation` and `task`
    are shown in the model card, `wildcards` are the model's experiment, recipe and seed, `replies` are the scripted
    replies to a chat, by intent.
    Raises `UserError` if `model` is not a model folder.
    """
    manifest = read_manifest(model)
    name = "-".join(wildcards.values()) or model.resolve().name
    with replacing_folder(out, "deploy") as beside:
        for file in sorted(model.rglob("*")):
            # Hidden files are left out. Snakemake's time stamp, if linked, would be shared by model and bundle.
            hidden = file.name.startswith(".")
            place = file.relative_to(model)
            merged = place.parts[0] == ADAPTER
            if file.is_file() and not (hidden or merged or file.suffix in LEFT_OUT or file.name in OURS):
                link_or_copy(file.resolve(), beside / place)
        # Keys that others have added to the manifest are kept.
        known = read_settings_file(model / FILE) or manifest.model_dump(by_alias=True)
        known |= {"task": task, "name": name}
        write_json(beside / FILE, known)
        if replies:
            write_json(beside / REPLIES, replies.model_dump())
        (beside / CARD).write_text(model_card(name, task, manifest, evaluation, wildcards, replies), encoding="utf-8")
        if manifest.endpoint is None:
            # For any POSIX shell. It finds its folder through links, too, and checks for greenllm before it starts it.
            script = importlib.resources.files("greenllm.serving").joinpath("serve.sh").read_bytes()
            (beside / SERVE).write_bytes(script)
            (beside / SERVE).chmod(0o755)


def model_bytes(bundle: Path) -> int:
    """Return the size of a bundle's model, tokenizer and configuration, in bytes."""
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file() and file.name not in (*OURS, RECORD))
