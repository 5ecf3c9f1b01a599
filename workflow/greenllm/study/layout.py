"""Where each result is below the results folder: one pattern each, with wildcards in braces.

Rules use a pattern as it is: Snakemake fills in its pathvar `<results>` and the wildcards. Python calls `located`.
What each place holds: results/README.md.
"""

from pathlib import Path

RESULTS = "<results>"
SOURCE = "source"  # in place of a recipe's name: the model that an experiment starts from

COLLECTED = "<results>/data/{experiment}/collected"
CARD = f"{COLLECTED}/card.json"
PREPARED = "<results>/data/{experiment}/prepared"
PREPARATION = f"{PREPARED}/report.json"

SOURCE_MODEL = f"<results>/models/{{experiment}}/{SOURCE}"
MODEL = "<results>/models/{experiment}/{recipe}/seed-{seed}/model"
TRAINING = f"{MODEL}/training.json"
CHECKPOINTS = "<results>/models/{experiment}/{recipe}/seed-{seed}/checkpoints"

EVALUATION = "<results>/evaluations/{experiment}/{recipe}/seed-{seed}.json"
PREDICTIONS = "<results>/evaluations/{experiment}/{recipe}/seed-{seed}.predictions.jsonl"
BUNDLE = "<results>/deployments/{experiment}/{recipe}/seed-{seed}/bundle"
MEASUREMENT = "<results>/measurements/{experiment}/seed-{seed}.json"

LEDGER = "<results>/ledger"
RUNS = "<results>/runs"
PLAN = "<results>/plan/plan.json"
STUDY = "<results>/account/study.json"
ATTRIBUTION = "<results>/account/attribution.json"
ACCOUNT = "<results>/account/account.json"
FOOTPRINT = "<results>/account/footprint.json"
SCHEDULE = "<results>/account/schedule.json"
VERIFICATION = "<results>/account/verification.json"
PAGE = "<results>/report/index.html"
SUMMARY = "<results>/report/summary.json"
EXPORTS = "<results>/exports"

# The folders that a study replaces, with all their content. Only the rules know the paths in `energy` and
# `benchmarks`, where each job writes its own file.
MADE_ONCE = tuple(
    f"<results>/{name}"
    for name in ("account", "benchmarks", "energy", "evaluations", "exports", "measurements", "report")
)
MADE_FOR_EXPERIMENT = ("<results>/data/{experiment}", "<results>/deployments/{experiment}", SOURCE_MODEL)
MADE_FOR_RECIPE = ("<results>/models/{experiment}/{recipe}",)


def located(pattern: str, results: Path | str, **wildcards: str | int) -> Path:
    """Return the path of a result, its pattern filled in. Raises KeyError where a wildcard is left out."""
    # The wildcards first: the name of a results folder may contain braces.
    return Path(pattern.format(**wildcards).replace(RESULTS, str(results), 1))
