"""The bundle: a folder that serves a model by itself, and says what is known of it."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greenllm.files import replacing_folder, write_json
from greenllm.model_folder.manifest import FILE, read_manifest
from greenllm.serving.scripted_replies import FILE as REPLIES
from greenllm.serving.scripted_replies import Replies
from greenllm.tokens import read_settings_file
from greenllm.training.saving import ADAPTER
from greenllm.written import RECORD

CARD = "README.md"
SERVE = "serve"
OURS = (FILE, CARD, SERVE, REPLIES)
# Formats that run code when they are read (pickle), or that no engine here reads.
LEFT_OUT = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".ot"}

# Of any POSIX shell. It finds its folder through links, too, and says what is missing before greenllm is started.
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
    """Make a bundle of a model folder; the same inputs give the same bytes.

    Files are hard links where the file system has them (change none in place), else copies. `evaluation` is what
    `greenllm evaluate` wrote, `wildcards` say which experiment, recipe and seed the model is, `replies` what a chat is
    answered with by the intent that the model names.
    Raises `UserError` where `model` is no model folder.
    """
    manifest = read_manifest(model)
    name = "-".join(wildcards.values()) or model.resolve().name
    task = evaluation.get("task")
    with replacing_folder(out, "deploy") as beside:
        for file in sorted(model.rglob("*")):
            # Hidden files are others': linked, Snakemake's time stamp of the bundle would be the model's too.
            hidden = file.name.startswith(".")
            place = file.relative_to(model)
            merged = place.parts[0] == ADAPTER
            if file.is_file() and not (hidden or merged or file.suffix in LEFT_OUT or file.name in OURS):
                _link(file.resolve(), beside / place)
        # What others have written into the manifest stays in it.
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
    """Return a model card with the metadata that the Hugging Face hub reads."""
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
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items() if value is not None)
    quality = "\n".join(
        f"| {metric} | {interval['value']:.4g} | {interval['low']:.4g} to {interval['high']:.4g} |"
        for metric, interval in metrics.items()
    )
    endpoint = manifest.get("endpoint")
    use = (
        f"The model runs behind {endpoint['url']}, where it is called {endpoint['served_name']}."
        if endpoint
        else "    ./serve --port 8000\n\nserves the model at http://127.0.0.1:8000/v1 for every client of the OpenAI "
        "interface. It needs\nthe command `greenllm`. Decoding is greedy."
    )
    scripted = (
        ""
        if replies is None
        else f"A chat is answered with the reply that `{REPLIES}` has for the intent the model names, and handed over "
        f"to a person where its confidence is below {replies.threshold:g}; `/v1/completions` gives the intent.\n\n"
    )
    return f"---\n{data.to_yaml()}\n---\n\n# {name}\n\n## Use\n\n{use}\n\n{scripted}" + (
        f"## Model\n\n| | |\n| --- | --- |\n{rows}\n\n"
        + (
            f"## Quality\n\nOn the {evaluation['examples']} examples of the test split, with 95 % intervals.\n\n"
            f"| metric | value | interval |\n| --- | --- | --- |\n{quality}\n\n"
            if quality
            else ""
        )
        + "Energy and emissions are in the report of the study that made this model: they depend on where it ran.\n"
    )
