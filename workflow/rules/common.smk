# What all rules share: the checked study, the meter's call, the resources of a stage, and functions that return the
# inputs and params of a job. No logic beyond paths and resources: that is in the package (workflow/greenllm).
# Where results are that other programs read: study/layout.py there, one pattern each. Snakemake fills in <results>.

import sys

# Snakemake imports from the workflow's folder first, where a user's file yaml.py would hide the library.
sys.path = [folder for folder in sys.path if folder != workflow.basedir]

import gc
import hashlib
import os
import shlex
from pathlib import Path

from greenllm import environment
from greenllm.checks.study import check_config
from greenllm.cluster.submission import over_several_nodes, refusal
from greenllm.config.read import ConfigError, read_yaml
from greenllm.config.section import NAME_PATTERN
from greenllm.data.local_files import data_state, model_state, signal_state, site_state
from greenllm.errors import UserError
from greenllm.files import require_writable
from greenllm.ledger.run_file import PlannedJob, RunFile
from greenllm.meter.host import boot_id, host_name
from greenllm.scheduling.starts import StartTimes
from greenllm.study import layout
from greenllm.study.expected_power import PowerBudget
from greenllm.study.plan import Plan
from greenllm.study.reservations import Reservations, checked

# The objects of a plan live until the end. With Python's usual thresholds a fifth of the planning of a large study is
# spent on searching them for garbage.
gc.set_threshold(50_000, 50, 50)

CONFIG_FILES = [*map(os.path.relpath, workflow.config_settings.configfiles)] or ["config/config.yaml"]
CONFIG_FILE = ", ".join(CONFIG_FILES)
GPU_LIMIT = workflow.global_resources.get("gpu")
try:
    # A second reading: Snakemake itself silently takes the last of two equal keys, and reads NO as false.
    for file in CONFIG_FILES:
        read_yaml(Path(file))
    STUDY = check_config(config, CONFIG_FILE, GPU_LIMIT and GPU_LIMIT.value)
except ConfigError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
STARTS_JOBS = workflow.exec_mode.name == "DEFAULT"  # else it runs one of them
# To a cluster (`--jobs`, not `--cores`). There each job checks by itself whether it can use its GPU.
SUBMITS = STARTS_JOBS and workflow.resource_settings.nodes is not None
HERE = STARTS_JOBS and not SUBMITS
RESERVATIONS = checked(Plan(STUDY)) if HERE else Reservations(Plan(STUDY))
PLAN = RESERVATIONS.plan
STUDY = PLAN.config  # with the controls that a GPU of this host calls for
for line in RESERVATIONS.lines:
    print(f"{CONFIG_FILE}: {line}", file=sys.stderr)


# When jobs are to start, if `greenllm plan` has made a plan.
STARTS = StartTimes.of_study(STUDY) if STARTS_JOBS else StartTimes()

# A budget for the power of all running jobs, which Snakemake's scheduler keeps: `--resources power_W=…`, else
# `policy.power_budget_W`. Without one, no job names its power, and no ledger is read here. A plan keeps the policy's
# budget by its times; here the jobs that wait for their start would take the power of those that are to run.
if "power_W" not in workflow.global_resources.keys() and STUDY.policy.power_budget_W and not STARTS.to_come:
    workflow.register_resource("power_W", int(STUDY.policy.power_budget_W))
POWER_BUDGET = None
if "power_W" in workflow.global_resources.keys():
    budget_W = workflow.global_resources["power_W"].value
    try:
        POWER_BUDGET = PowerBudget.checked(
            PLAN, layout.located(layout.LEDGER, STUDY.results), budget_W, here=HERE
        )
    except UserError as error:
        print(*(f"{CONFIG_FILE}: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        sys.exit(2)


def begun():
    """Return the file by which `greenllm watch` knows the jobs of this invocation; None if it can't be written."""
    jobs = [job for job in workflow.dag.needrun_jobs() if "energy" in job.output.keys()]
    planned = [PlannedJob.of(job.rule.name, job.wildcards_dict) for job in jobs]
    folder = layout.located(layout.RUNS, STUDY.results)
    try:
        return RunFile(folder, RUN_ID, host_name(), boot_id(), planned)
    except OSError as error:
        print(f"{folder}: {error.strerror}: `greenllm watch` will not know which jobs wait", file=sys.stderr)


RUN_FILE = None  # until jobs start


def ended(succeeded):
    """Note that this invocation has ended."""
    if RUN_FILE is not None:
        RUN_FILE.end(succeeded=succeeded)


# Only when jobs start: a dry run and Snakemake's `--report` write nothing here.
onstart:
    if RESERVATIONS.refused:
        sys.exit(2)
    try:
        require_writable(Path(STUDY.results))
    except UserError as error:
        print(f"{CONFIG_FILE}: results: {error}", file=sys.stderr)
        sys.exit(2)
    if STUDY.policy.objective and not layout.located(layout.PLAN, STUDY.results).is_file():
        print(
            f"{CONFIG_FILE}: policy: no plan, so jobs start at once; `greenllm plan` makes one",
            file=sys.stderr,
        )
    if fault := STARTS.fault or (STARTS.to_come and refusal(workflow.executor_settings)):
        print(fault, file=sys.stderr)
        sys.exit(2)
    global RUN_FILE
    RUN_FILE = begun()


# Rules call `meter` by its absolute path: it is found from an unactivated .venv and from a rule's conda environment.
METER = Path(sys.executable).with_name("greenllm")
LEDGER = layout.located(layout.LEDGER, STUDY.results)
# With a policy, the meter holds each job back until its planned start, if `greenllm plan` has made a plan.
PLAN_OPTION = (
    f"--plan {shlex.quote(str(layout.located(layout.PLAN, STUDY.results)))}" if STUDY.policy.objective else ""
)
shell.prefix(
    "set -euo pipefail; "  # Snakemake's own prefix, which this one replaces
    'meter() {{ {METER:q} meter --ledger {LEDGER:q} --device {STUDY.device} {PLAN_OPTION} "$@"; }}; '
)
RUN_ID = environment.set_for_jobs(STUDY.meter.interval_s)


def metered(rule, command, wildcards=(), inputs="{input:q}", threads="{threads}", options=""):
    """Return the shell text of a rule: its command under the meter, with all output of both in the rule's log.

    `rule` is the rule's name ({rule} fails `snakemake --lint`), `wildcards` are the names of its wildcards. A rule whose
    results depend on the number of threads passes `threads="{params.threads}"`, from `fixed_threads`. `options` are
    further options of the meter. Snakemake runs a job again if the text that is returned here changes. It puts a text
    that is longer than an argument can be into a file, so only a single word may not be: 128 KiB. All words together
    may have 2 MB (a quarter of the stack's limit, execve(2)), which is some 25,000 inputs.
    """
    words = (
        f"meter --rule {rule}",
        wildcard_options(*wildcards),
        f"--attempt {{resources.attempt}} --threads {threads} --memory {{resources.mem_mb}}"
        " --gpus {resources.leased_gpu}",
        power_limit_option(rule),
        options,
        "--input",
        inputs,
        "--output {output:q} --out {output.energy:q} --",
        command,
        "> {log:q} 2>&1",
    )
    return " ".join(filter(None, words))


def power_limit_option(rule):
    """Return the option that limits the power of each GPU of the job, if the configuration limits the rule's stage."""
    limit_W = getattr(getattr(STUDY.resources, rule, None), "power_limit_W", None)
    return "" if limit_W is None else f"--power-limit {limit_W:g}"


def wildcard_options(*names):
    """Return the options that pass wildcards on. Their values need no quotes: see `wildcard_constraints` below."""
    return " ".join(f"--wildcard {name}={{wildcards.{name}}}" for name in names)


# Memory (MB) and run time (minutes) of a job that belongs to no stage.
LIGHT_MB, LIGHT_min = 2000, 60


def needs(stage=None):
    """Return the resources of a stage's jobs, or of a job that belongs to no stage and uses no GPU."""
    if stage is None:
        return asked_for(0, LIGHT_MB, LIGHT_min) | power(stage)
    configured = getattr(STUDY.resources, stage)
    asked = asked_for(gpus(stage), configured.memory_MB, configured.runtime_min)
    return asked | over_nodes(stage, asked["leased_gpu"]) | power(stage)


def asked_for(leased, memory_MB, minutes):
    """Return resources. A job that was out of memory or time asks for twice as much in its next attempt, and so on.

    `leased_gpu` is what the meter leases; a cluster's profile may ask for GPUs under another name than `gpu`.
    """
    return {
        "gpu": leased,
        "leased_gpu": leased,
        "mem_mb": lambda wildcards, attempt: memory_MB * attempt,
        "runtime": lambda wildcards, attempt: minutes * attempt,
        "attempt": current_attempt,
    }


def over_nodes(stage, leased):
    """Return the further resources of a stage with a job over several nodes; `leased` are the GPUs of each node."""
    if PLAN.most_nodes(stage) == 1:
        return {}
    return over_several_nodes(
        lambda wildcards: PLAN.nodes(stage, wildcards.experiment, wildcards.recipe),
        leased if callable(leased) else lambda wildcards: leased,
    )


def power(stage):
    """Return the power (W) that a stage's jobs are expected to draw, as a resource, if the run has a power budget."""
    if POWER_BUDGET is None:
        return {}
    if stage is None:
        return {"power_W": POWER_BUDGET.expected.of_light()}
    return {"power_W": lambda wildcards: POWER_BUDGET.of(stage, wildcards)}


def gpus(stage):
    """Return the GPUs of a stage's jobs: a number if it is the same for all, else a function, which Snakemake calls for
    each job.
    """
    names = [(name, recipe) for name in STUDY.experiments for recipe in (None, *PLAN.recipes(name))]
    numbers = {key: PLAN.gpus(stage, *key) for key in names}
    if len(set(numbers.values())) == 1:
        return numbers.popitem()[1]
    return lambda wildcards: numbers[wildcards.experiment, wildcards.get("recipe")]


def current_attempt(wildcards, attempt):
    """Return the number of the attempt. It is a resource because Snakemake computes params only once per job."""
    return attempt


def fixed_threads(stage):
    """Return the threads of a stage as a param.

    `--cores` may lower Snakemake's own {threads}, and another number of threads changes weights and answers.
    """
    return getattr(STUDY.resources, stage).threads


def made_by(stage):
    """Return the pattern that matches the recipes whose step runs in a stage.

    It lists these or, where they are fewer, excludes the others: Snakemake reads a pattern's text again for each job,
    which takes long in a study of thousands of recipes.
    """
    made = PLAN.made_by(stage)
    others = [recipe for recipe in STUDY.recipes if recipe not in set(made)]
    if len(made) <= len(others):
        return "|".join(made) or "(?!)"
    return f"(?!(?:{'|'.join(others)})(?![A-Za-z0-9_-])){NAME_PATTERN}" if others else NAME_PATTERN


# A param that Snakemake does not keep, unlike None: with it a job is run again for no other reason than without.
NOT_RECORDED = ...


def settings(section, **chosen):
    """Return a section of the study as JSON text, as stages take it on their command line.

    `chosen` is pydantic's `include` or `exclude`: a job is passed only the keys that it reads, so that a change of
    another key does not run it again.
    """
    return section.model_dump_json(by_alias=True, **chosen)


def data_files(wildcards):
    """Return what the experiment's local data files hold, in short; NOT_RECORDED if it has none."""
    return data_state(PLAN.experiment(wildcards.experiment).data, Path(STUDY.data_folder)) or NOT_RECORDED


def model_files(wildcards):
    """Return what the files of the experiment's local model hold, in short; NOT_RECORDED if it has none."""
    return model_state(PLAN.experiment(wildcards.experiment).model) or NOT_RECORDED


def site_files(wildcards):
    """Return what the site's series and tables of factors hold, in short; NOT_RECORDED if it has none."""
    return site_state(STUDY.site) or NOT_RECORDED


def signal_files(wildcards):
    """Return what the files hold, in short, by which a plan's saving is computed; NOT_RECORDED without a plan."""
    return signal_state(STUDY.policy) or NOT_RECORDED


def task(wildcards):
    """Return the name of the experiment's task."""
    return PLAN.experiment(wildcards.experiment).task


def recipe(wildcards):
    """Return the recipe as JSON text, without unset keys: a new kind of step then changes no other recipe's text."""
    return PLAN.recipe(wildcards.recipe).model_dump_json(by_alias=True, exclude_none=True)


def python(wildcards):
    """Return the Python interpreter that runs the recipe's jobs."""
    return PLAN.python(wildcards.recipe)


def device(wildcards):
    """Return the device that the recipe's jobs compute on."""
    return PLAN.device(wildcards.recipe)


def source_model(wildcards):
    """Return the folder of the model that the experiment starts from, if it brings its tokenizer."""
    if PLAN.runs_elsewhere(wildcards.experiment):
        return []
    return PLAN.model_folder(wildcards.experiment, None, "") or []


def parent_model(wildcards):
    """Return the folder of the model that the recipe starts from, if there is one."""
    return PLAN.parent_folder(wildcards.experiment, wildcards.recipe, wildcards.seed) or []


def other_models(wildcards):
    """Return the folders of the other models that the recipe's step reads."""
    return list(PLAN.other_folders(wildcards.experiment, wildcards.recipe, wildcards.seed).values())


def evaluated_model(wildcards):
    """Return the folder of the model that the recipe makes or takes."""
    return PLAN.model_folder(wildcards.experiment, wildcards.recipe, wildcards.seed)


def each_compared_model(pattern):
    """Return the function that returns the pattern's file for each model that is compared.

    A function, like the next: of an input that is a list, Snakemake compares each file with the whole list.
    """
    return lambda wildcards: [
        pattern.format(experiment=experiment, recipe=recipe, seed=seed)
        for experiment, recipe, seed in PLAN.compared()
    ]


def each_measurement(pattern):
    """Return the function that returns the pattern's file for each measurement: one per experiment and seed."""
    return lambda wildcards: [
        pattern.format(experiment=experiment, seed=seed) for experiment, seed in PLAN.measured()
    ]


def each_recipe(pattern):
    """Return the function that returns the pattern's file for each recipe of an experiment, the baseline first."""
    return lambda wildcards: [
        pattern.format(experiment=wildcards.experiment, recipe=recipe, seed=wildcards.seed)
        for recipe in PLAN.baseline_first(wildcards.experiment)
    ]


def server_options(wildcards, input):
    """Return the options that name each recipe's bundle, its predictions, and how its server runs."""
    recipes = PLAN.baseline_first(wildcards.experiment)
    words = []
    for recipe, bundle, predictions in zip(recipes, input.bundles, input.predictions, strict=True):
        words += ["--bundle", f"{recipe}={bundle}", "--predictions", f"{recipe}={predictions}"]
        if PLAN.on_cpu(recipe):
            words += ["--on-cpu", recipe]
        if PLAN.python(recipe) != "python":
            words += ["--python", f"{recipe}={PLAN.python(recipe)}"]
    return shlex.join(words)


def preprocess_settings(wildcards):
    """Return how the data are prepared, as JSON text. Without the tokenizer's keys if the model brings its own."""
    section = PLAN.experiment(wildcards.experiment).preprocess
    return settings(section, exclude={"tokenizer"} if source_model(wildcards) else None)


def training_settings(wildcards):
    """Return how the recipe's step trains, as JSON text: an empty object if it does not train."""
    step = PLAN.recipe(wildcards.recipe).step
    return settings(PLAN.training(wildcards.experiment, wildcards.recipe)) if step.trains_by else "{}"


def source_model_option(wildcards, input):
    """Return the option that names the model whose tokenizer is used, if there is one."""
    return f"--model {shlex.quote(input.model)}" if input.model else ""


def scratch_model_option(wildcards, input):
    """Return the option that describes the model to train from scratch, if the recipe starts with one."""
    if input.parent:
        return ""
    model = settings(PLAN.experiment(wildcards.experiment).model, include={"size", "context"})
    return f"--model {shlex.quote(model)}"


def model_options(wildcards, input):
    """Return the options that name the models that the recipe's step reads."""
    names = PLAN.other_folders(wildcards.experiment, wildcards.recipe, wildcards.seed)
    others = zip(names, input.others, strict=True)
    parent = ["--from", input.parent] if input.parent else []
    return shlex.join(
        [*parent, *(word for name, folder in others for word in ("--other", f"{name}={folder}"))]
    )


def chat_options(wildcards):
    """Return the options that put prompts into the model's chat template, if the model is a chat model."""
    model = PLAN.experiment(wildcards.experiment).model
    if not model.chat or PLAN.runs_elsewhere(wildcards.experiment):
        return ""
    return "--chat" if model.system is None else f"--chat --system {shlex.quote(model.system)}"


def engine_options(wildcards):
    """Return the options that name the engines which are to run the experiment's source model."""
    return " ".join(f"--engine {engine}" for engine in PLAN.engines_of_source(wildcards.experiment))


def context_option(wildcards):
    """Return the option for the longest context (tokens) of the experiment's models, if it is known."""
    if source_model(wildcards):
        return "--context model"
    tokens = PLAN.context(wildcards.experiment)
    return "" if tokens is None else f"--context {tokens}"


def cgroup_option(wildcards):
    """Return the meter's option that adds an endpoint's processes on this host to the job, if a cgroup names them."""
    group = PLAN.experiment(wildcards.experiment).model.cgroup
    return "" if group is None else f"--cgroup {shlex.quote(group)}"


# Not the names themselves: see `made_by`. The plan refuses a name that the study lacks.
wildcard_constraints:
    experiment=NAME_PATTERN,
    recipe=NAME_PATTERN,
    seed=r"\d+",
