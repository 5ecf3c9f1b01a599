"""The bundle: a folder with a model, a script that serves it, and a model card."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from greenllm.files import replacing_folder, write_json
from greenllm.model_folder.manifest import FILE, read_manifest
from greenllm.serving.scripted_replies import FILE as REPLIES
from greenllm.serving.scripted_replies import Replies
from greenllm.tokens import read_settings_file
from greenllm.training.saving import ADAPTER
from greenllm.written import RECORD

CARD = "README.md"
CARD_TEMPLATE = "card.md.jinja"
SERVE = "serve"
OURS = (FILE, CARD, SERVE, REPLIES)
# Formats that can run code when they are read (pickle), or that no engine here reads.
LEFT_OUT = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".ot"}

# For any POSIX shell. It finds its folder through links, too, and checks for greenllm before it starts it.
SCRIPT = """\
#!/bin/sh
# Serves this folder over an OpenAI-compatible HTTP interface; needs the command greenllm.
case $0 in
*/*) script=$0 ;;
*) script=./$0 ;;
esac
script=$(readlink -f -- "$script" 2>/dev/null || printf '%s\\n' "$script")
if ! command -v greenllm >/dev/null 2>&1; then
    echo "serve: the command greenllm is not found; activate the environment that has it, such as by" \\
        "'. .venv/bin/activate', or install GreenLLM on this machine" >&2
    exit 127
fi
if ! greenllm --version >/dev/null 2>&1; then
    echo "serve: $(command -v greenllm) does not run (its Python is missing, or has no GreenLLM); install GreenLLM" \\
        "there again, or activate another environment" >&2
    exit 127
fi
exec greenllm serve "${script%/*}/" "$@"
"""


def make_bundle(
    model: Path,
    evaluation: Mapping[str, Any],
    wildcards: Mapping[str, str],
    out: Path,
    replies: Replies | None = None,
) -> None:
    """Make a bundle of a model folder; the same inputs make the same bytes.

    Files are hard links if the file system has them (so change none in place), else copies. `evaluation` is the result
    of `greenllm evaluate`, `wildcards` are the model's experiment, recipe and seed, `replies` are the scripted replies
    to a chat, by intent.
    Raises `UserError` if `model` is not a model folder.
    """
    manifest = read_manifest(model)
    name = "-".join(wildcards.values()) or model.resolve().name
    task = evaluation.get("task")
    with replacing_folder(out, "deploy") as beside:
        for file in sorted(model.rglob("*")):
            # Hidden files are left out. Snakemake's time stamp, if linked, would be shared by model and bundle.
            hidden = file.name.startswith(".")
            place = file.relative_to(model)
            merged = place.parts[0] == ADAPTER
            if file.is_file() and not (hidden or merged or file.suffix in LEFT_OUT or file.name in OURS):
                _link(file.resolve(), beside / place)
        # Keys that others have added to the manifest are kept.
        known = read_settings_file(model / FILE) or manifest.model_dump(by_alias=True)
        known |= {"task": task, "name": name}
        write_json(beside / FILE, known)
        if replies:
            write_json(beside / REPLIES, replies.model_dump())
        (beside / CARD).write_text(_card(name, known, evaluation, wildcards, replies), encoding="utf-8")
        if manifest.endpoint is None:
            _write_script(beside / SERVE)


def _write_script(script: Path) -> None:
    script.write_text(SCRIPT, encoding="utf-8")
    script.chmod(0o755)


def model_bytes(bundle: Path) -> int:
    """Return the size of a bundle's model, tokenizer and configuration, in bytes."""
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file() and file.name not in (*OURS, RECORD))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _card(
    name: str,
    manifest: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    wildcards: Mapping[str, str],
    replies: Replies | None,
) -> str:
    """Return a model card, with the metadata that the Hugging Face hub reads."""
    from huggingface_hub import EvalResult, ModelCardData  # not with every `greenllm serve`

    task = evaluation.get("task")
    metrics: Mapping[str, Mapping[str, float]] = evaluation.get("metrics", {})
    data = ModelCardData(
        library_name=manifest["engine"],
        pipeline_tag="text-generation",
        tags=[tag for tag in ("greenllm", manifest["precision"], task) if tag],
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=wildcards.get("experiment", task or "unknown"),
                dataset_name=wildcards.get("experiment", task or "unknown"),
                dataset_split="test",
                metric_type=metric,
                metric_value=interval["value"],
            )
            for metric, interval in metrics.items()
        ]
        or None,
    )
    facts = {
        "Task": task,
        "Engine": manifest["engine"],
        "Precision of the weights": manifest["precision"],
        "Parameters": manifest.get("parameters"),
        "Context in tokens (prompt and answer)": manifest.get("context"),
        **{key.capitalize(): value for key, value in wildcards.items()},
    }
    loader = jinja2.PackageLoader("greenllm.serving", ".")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.get_template(CARD_TEMPLATE).render(
        metadata=data.to_yaml(),
        name=name,
        endpoint=manifest.get("endpoint"),
        replies=replies,
        replies_file=REPLIES,
        facts=[(key, value) for key, value in facts.items() if value is not None],
        metrics=[*metrics.items()],
        examples=evaluation.get("examples"),
    )
