# What all stages share: the checked study, the meter's call, the resources of a stage.
# Logic beyond paths and resources lives in the package (workflow/greenllm).

import sys

# Snakemake imports from the workflow's folder first, where a user's file yaml.py would take a library's place.
sys.path = [folder for folder in sys.path if folder != workflow.basedir]

import os
import shlex
from pathlib import Path

from greenllm import environment
from greenllm.checks.study import check_config
from greenllm.config.read import ConfigError, read_yaml
from greenllm.errors import UserError
from greenllm.files import require_writable
from greenllm.study.plan import Plan
from greenllm.study.reservations import Reservations, checked

CONFIG_FILES = [*map(os.path.relpath, workflow.config_settings.configfiles)] or ["config/config.yaml"]
CONFIG_FILE = ", ".join(CONFIG_FILES)
GPU_LIMIT = workflow.global_resources.get("gpu")
try:
    # Read once more, since Snakemake takes the last of two keys of one name, and NO for false, without a word.
    for file in CONFIG_FILES:
        read_yaml(Path(file))
    STUDY = check_config(config, CONFIG_FILE, GPU_LIMIT and GPU_LIMIT.value)
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
# What runs on a cluster (`--jobs`, not `--cores`) says for itself whether it can use the GPU that it has.
HERE = workflow.exec_mode.name == "DEFAULT" and workflow.resource_settings.nodes is None
RESERVATIONS = checked(Plan(STUDY)) if HERE else Reservations(Plan(STUDY))
PLAN = RESERVATIONS.plan
for line in RESERVATIONS.lines:
    print(f"{CONFIG_FILE}: {line}", file=sys.stderr)


# Not before the start: a plan (`--dry-run`) or a report of what is there needs no place to write to.
onstart:
    if RESERVATIONS.refused:
        sys.exit(2)
    try:
        require_writable(Path(STUDY.results))
    except UserError as error:
        print(f"{CONFIG_FILE}: results: {error}", file=sys.stderr)
        sys.exit(2)


# Rules call `meter`, by its absolute path: neither an unactivated .venv nor a rule's own conda environment loses it.
METER = Path(sys.executable).with_name("greenllm")
shell.prefix(
    "set -euo pipefail; "  # as without a prefix
    'meter() {{ {METER:q} meter --ledger {STUDY.results:q}/ledger --device {STUDY.device} "$@"; }}; '
)
environment.prepare(STUDY.meter.interval_s)


def settings(section, **chosen):
    """Return a section of the study as the JSON text that a stage takes on its command line.

    `chosen` are pydantic's `include` or `exclude`: a job has the keys that it reads, so that no other runs it again.
    """
    return section.model_dump_json(by_alias=True, **chosen)


def current_attempt(wildcards, attempt):
    """Return the number of the attempt: a resource, since params are not computed anew for each."""
    return attempt


def any_of(names):
    """Return the pattern that matches these names alone."""
    return "|".join(names) or "(?!)"


def gpus(stage):
    """Return the GPUs of a stage, by wildcards: none where its jobs can't use one."""
    return lambda wildcards: PLAN.gpus(stage, wildcards.experiment, wildcards.get("recipe"))


def source_model(wildcards):
    """Return the folder of the model whose tokenizer the experiment takes over, if it does."""
    if PLAN.runs_elsewhere(wildcards.experiment):
        return []
    return PLAN.model_folder(wildcards.experiment, None, "") or []


def preprocessing(wildcards):
    """Return how the data are prepared, as JSON text: without the tokenizer, where the model brings its own."""
    section = PLAN.experiment(wildcards.experiment).preprocess
    return settings(section, exclude={"tokenizer"} if source_model(wildcards) else None)


def context(wildcards):
    """Return the option that says how many tokens the experiment's models have room for, where that is known."""
    if source_model(wildcards):
        return "--context model"
    tokens = PLAN.context(wildcards.experiment)
    return "" if tokens is None else f"--context {tokens}"


def parent_model(wildcards):
    """Return the folder of the model that the recipe starts from, if it does."""
    return PLAN.parent_folder(wildcards.experiment, wildcards.recipe, wildcards.seed) or []


def other_models(wildcards):
    """Return the folders of the other models that the recipe's step reads."""
    return list(PLAN.other_folders(wildcards.experiment, wildcards.recipe, wildcards.seed).values())


def training(wildcards):
    """Return how the recipe's step trains, as JSON text: nothing where it does not."""
    step = PLAN.recipe(wildcards.recipe).step
    return settings(PLAN.training(wildcards.experiment, wildcards.recipe)) if step.trains_by else "{}"


def scratch_model(wildcards, input):
    """Return the option that describes the model from scratch, where the recipe starts with one."""
    if input.parent:
        return ""
    model = settings(PLAN.experiment(wildcards.experiment).model, include={"size", "context"})
    return f"--model {shlex.quote(model)}"


def making(wildcards, input):
    """Return the options that name the models that the recipe's step reads."""
    names = PLAN.other_folders(wildcards.experiment, wildcards.recipe, wildcards.seed)
    others = zip(names, input.others, strict=True)
    parent = ["--from", input.parent] if input.parent else []
    return shlex.join(
        [*parent, *(word for name, folder in others for word in ("--other", f"{name}={folder}"))]
    )


def chat(wildcards):
    """Return the options by which prompts are put into the model's chat template, if they are."""
    model = PLAN.experiment(wildcards.experiment).model
    if not model.chat or PLAN.runs_elsewhere(wildcards.experiment):
        return ""
    return "--chat" if model.system is None else f"--chat --system {shlex.quote(model.system)}"


def claimed(wildcards):
    """Return the meter's option that claims the processes of the experiment's endpoint, where they are on this host."""
    group = PLAN.experiment(wildcards.experiment).model.cgroup
    return "" if group is None else f"--cgroup {shlex.quote(group)}"


def recipe(wildcards):
    """Return a recipe as JSON text, without what it leaves out: a new kind of step changes no other recipe."""
    return PLAN.recipe(wildcards.recipe).model_dump_json(by_alias=True, exclude_none=True)


def evaluated_model(wildcards):
    """Return the folder of the model that the recipe makes or takes."""
    return PLAN.model_folder(wildcards.experiment, wildcards.recipe, wildcards.seed)


def compared(pattern):
    """Return the pattern's file for every model that is compared."""
    return [
        pattern.format(experiment=experiment, recipe=recipe, seed=seed)
        for experiment, recipe, seed in PLAN.compared()
    ]


wildcard_constraints:
    experiment=any_of(STUDY.experiments),
    recipe=any_of(STUDY.recipes),
    seed=r"\d+",
