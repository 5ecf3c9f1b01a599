"""`greenllm recommend`: decide which recipe to deploy, from an existing results folder; no job runs."""

import argparse
from pathlib import Path

ASKED = ("quality", "worse_by", "confidence", "requests")  # options that are keys of the section `decision`


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder, with its account/ and ledger/")
    parser.add_argument("--experiment", metavar="NAME", help="only this experiment")
    parser.add_argument("--quality", type=float, metavar="Q", help="the primary metric must be at least this good")
    parser.add_argument(
        "--worse-by", type=float, metavar="W", help="and at most W worse than the baseline's (0.01: one point)"
    )
    parser.add_argument("--confidence", type=float, metavar="C", help="how sure that must be (0.95: 95 %%, one-sided)")
    parser.add_argument("--requests", type=int, metavar="N", help="expected requests, to share the energy of training")
    parser.add_argument("--json", action="store_true", help="print all that was decided (energies in joules)")


def run(arguments: argparse.Namespace) -> int:
    """Print one sentence for each experiment; without an option, the study's own setting is used."""
    from greenllm.account.results_folder import read_results_folder
    from greenllm.printing import print_json
    from greenllm.report.findings import findings

    asked = {key: value for key in ASKED if (value := getattr(arguments, key)) is not None}
    experiments = read_results_folder(arguments.results, asked).account().experiments
    chosen = _chosen(arguments, list(experiments))
    found = {finding.experiment: finding for finding in findings(experiments)}
    if arguments.json:
        print_json(
            {
                name: {**experiments[name].recommendation.model_dump(), "sentence": found[name].sentence}
                for name in chosen
            }
        )
        return 0
    for name in chosen:
        one = found[name]
        unsteady = None if experiments[name].comparison.steady else one.twin
        said = (one.sentence, one.nothing_to_compare, unsteady, one.note)
        print(f"{name}: {' '.join(part for part in said if part)}")
    return 0


def _chosen(arguments: argparse.Namespace, known: list[str]) -> list[str]:
    from greenllm.config.read import nearest
    from greenllm.errors import UserError

    if arguments.experiment is None:
        return known
    if arguments.experiment not in known:
        raise UserError(
            f"--experiment: {arguments.results} has no {arguments.experiment!r}{nearest(arguments.experiment, known)}"
        )
    return [arguments.experiment]
