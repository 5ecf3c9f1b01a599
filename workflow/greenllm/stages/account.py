"""`greenllm account`: attribute the ledgers' joules and make the account of a study."""

import argparse
import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenllm.attribution import Attribution
    from greenllm.study.models import Config

PACKAGES = (
    "greenllm", "snakemake", "torch", "transformers", "tokenizers", "onnxruntime", "onnxruntime-genai", "numpy",
    "babel", "sacrebleu", "codecarbon", "nvidia-ml-py", "fastapi", "uvicorn", "matplotlib",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="JSON_OR_FILE",
        help="the study's configuration: YAML or JSON, or a file of it",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="the results folder, with its ledger/ (default: that of the study)",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER",
        help="folder for attribution.json and account.json (energies in joules, carbon in grams of CO2 equivalent)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Write attribution.json and account.json."""
    from greenllm.account.account import account
    from greenllm.attribution import attribute
    from greenllm.config.read import read_settings
    from greenllm.errors import UserError
    from greenllm.files import require_own, write_json
    from greenllm.report.numbers import quantity
    from greenllm.study import layout
    from greenllm.study.models import Config
    from greenllm.study.results import read_study

    for name in ("attribution.json", "account.json"):
        require_own(arguments.out / name, '"schema": "greenllm/')
    config = read_settings(arguments.config, Config, option="--config")
    results = arguments.results or Path(config.results)
    study = read_study(config, results)
    ledger = layout.located(layout.LEDGER, results)
    if not ledger.is_dir():
        raise UserError(
            f"{ledger}: no ledgers; expected the folder that the workflow's meters write; run the workflow first"
        )
    attribution = attribute(ledger, policy=config.meter.policy)
    found = account(study, attribution, _versions())
    write_json(arguments.out / "attribution.json", attribution.to_json())
    write_json(arguments.out / "account.json", found.to_json())
    _write_schedule(config, results, attribution, arguments.out)
    total = found.spent.total
    known = quantity(total.energy_J, "J")
    if total.unknown:
        known = f"at least {known}: the energy of {total.unknown} of them, or a part of it, is unknown"
    print(f"{total.attempts} attempts spent {known}", file=sys.stderr)
    return 0


def _write_schedule(config: "Config", results: Path, attribution: "Attribution", out: Path) -> None:
    """Write schedule.json, what a plan saved; without a policy and a plan there is none."""
    from greenllm.errors import UserError
    from greenllm.files import require_own, write_json
    from greenllm.scheduling.outcome import outcome_of_study
    from greenllm.study import layout

    place = out / layout.located(layout.SCHEDULE, results).name
    require_own(place, '"schema": "greenllm/')
    place.unlink(missing_ok=True)
    try:
        found = outcome_of_study(config, results, attribution.jobs)
    except UserError as error:  # the account is worth having without it
        print(f"warning: what the plan saved is unknown: {error}", file=sys.stderr)
        return
    if found is not None:
        write_json(place, found.model_dump(mode="json", by_alias=True))


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # an environment without that part
            continue
    return versions
