"""`greenllm recommend`: decide which recipe to deploy, from an existing results folder; no job runs."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenllm.account.document import ExperimentAccount
    from greenllm.comparison.rows import RecipeRow
    from greenllm.estimate import Interval

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
    help = "also say what so many requests of this length would take: input tokens (with --requests, --tokens-out)"
    parser.add_argument("--tokens-in", type=int, metavar="N", help=help)
    parser.add_argument("--tokens-out", type=int, metavar="N", help="output tokens of each of those requests")
    parser.add_argument("--json", action="store_true", help="print all that was decided (energies in joules)")


def run(arguments: argparse.Namespace) -> int:
    """Print one sentence for each experiment; without an option, the study's own setting is used."""
    from greenllm.account.results_folder import read_results_folder
    from greenllm.printing import print_json
    from greenllm.report.findings import findings

    _check_lengths(arguments)
    asked = {key: value for key in ASKED if (value := getattr(arguments, key)) is not None}
    experiments = read_results_folder(arguments.results, asked).account().experiments
    chosen = _chosen(arguments, list(experiments))
    found = {finding.experiment: finding for finding in findings(experiments)}
    if arguments.json:
        print_json(
            {
                name: {
                    **experiments[name].recommendation.model_dump(),
                    "sentence": found[name].sentence,
                    **_requests_json(arguments, name, experiments[name]),
                }
                for name in chosen
            }
        )
        return 0
    for name in chosen:
        one = found[name]
        unsteady = None if experiments[name].comparison.steady else one.twin
        said = (one.sentence, one.nothing_to_compare, unsteady, one.note)
        print(f"{name}: {' '.join(part for part in said if part)}")
        for line in _requests_lines(arguments, name, experiments[name]):
            print(f"  {line}")
    return 0


def _check_lengths(arguments: argparse.Namespace) -> None:
    """Raise UserError if one of the lengths, or the number of requests, is missing or not positive."""
    from greenllm.errors import UserError

    lengths = {"--tokens-in": arguments.tokens_in, "--tokens-out": arguments.tokens_out}
    if all(tokens is None for tokens in lengths.values()):
        return
    for option, value in {**lengths, "--requests": arguments.requests}.items():
        if value is None:
            raise UserError(f"{option}: missing; expected --requests N --tokens-in N --tokens-out N together")
        if value < 1:
            raise UserError(f"{option} {value}: expected at least 1")


def _requests(arguments: argparse.Namespace, experiment: str, row: "RecipeRow") -> "tuple[Interval | None, str | None]":
    """Return what the requests that are asked for would take of a recipe (J), or None and why that is unknown."""
    from greenllm.comparison.token_energy import TokenEnergyUnknown, energy_of_requests

    if row.token_energy is None:
        return None, row.token_energy_reason or row.reason
    context, tokens = _context(arguments.results, experiment, row), arguments.tokens_in + arguments.tokens_out
    if context is not None and tokens > context:
        return None, f"the model's context is {context} tokens"
    try:
        lengths = arguments.requests, arguments.tokens_in, arguments.tokens_out
        return energy_of_requests(row.token_energy, *lengths), None
    except TokenEnergyUnknown as unknown:
        return None, str(unknown)


def _context(results: Path, experiment: str, row: "RecipeRow") -> int | None:
    """Return the number of tokens that a recipe's model can read and write; None if that is not known here."""
    from greenllm.model_folder.manifest import FILE, read_manifest
    from greenllm.study import layout

    for seed in row.seeds_measured:
        bundle = layout.located(layout.BUNDLE, results, experiment=experiment, recipe=row.recipe, seed=seed)
        if (bundle / FILE).is_file():
            return read_manifest(bundle).context
    return None


def _requests_json(arguments: argparse.Namespace, name: str, experiment: "ExperimentAccount") -> dict[str, Any]:
    from greenllm.comparison.token_energy import extrapolates

    if arguments.tokens_in is None:
        return {}
    found = {}
    for row in experiment.comparison.recipes:
        (energy_J, reason), by_token = _requests(arguments, name, row), row.token_energy
        found[row.recipe] = {
            "energy_J": None if energy_J is None else energy_J.to_json(),
            "extrapolates": by_token and bool(extrapolates(by_token, arguments.tokens_in, arguments.tokens_out)),
            "reason": reason,
        }
    return {"requests_of_this_length": found}


def _requests_lines(arguments: argparse.Namespace, name: str, experiment: "ExperimentAccount") -> Iterator[str]:
    """Yield a line for each recipe: what the requests that are asked for would take."""
    from greenllm.comparison.token_energy import extrapolates
    from greenllm.report.numbers import quantity

    if arguments.tokens_in is None:
        return
    asked = f"{arguments.requests:,} requests of {arguments.tokens_in} tokens in and {arguments.tokens_out} out"
    for row in experiment.comparison.recipes:
        energy_J, reason = _requests(arguments, name, row)
        if energy_J is None or row.token_energy is None:
            yield f"{row.recipe}: {asked}: unknown, {reason or 'it was not measured'}"
            continue
        beyond = extrapolates(row.token_energy, arguments.tokens_in, arguments.tokens_out)
        caution = f"; extrapolated, since {' and '.join(beyond)} were measured" if beyond else ""
        yield f"{row.recipe}: {asked} take {quantity(energy_J, 'J', ' to ')}{caution}"


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
