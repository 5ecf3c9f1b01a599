"""`greenllm recommend`: decide which recipe to deploy, from an existing results folder; no job runs."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenllm.account.document import ExperimentAccount
    from greenllm.comparison.rows import RecipeRow
    from greenllm.estimate import Interval

DECISION = ("quality", "worse_by", "confidence", "requests")  # options that are keys of the section `decision`


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

    asked = _asked(arguments)
    decision = {key: value for key in DECISION if (value := getattr(arguments, key)) is not None}
    experiments = read_results_folder(arguments.results, decision, arguments.experiment).account().experiments
    chosen = _chosen(arguments, list(experiments))
    found = {finding.experiment: finding for finding in findings(experiments)}
    energies = {name: _energies(arguments.results, asked, name, experiments[name]) for name in chosen}
    if arguments.json:
        print_json(
            {
                name: {
                    **experiments[name].recommendation.model_dump(),
                    "sentence": found[name].sentence,
                    **({"requests_of_this_length": {one.recipe: one.to_json() for one in each}} if each else {}),
                }
                for name, each in energies.items()
            }
        )
        return 0
    for name in chosen:
        one = found[name]
        unsteady = None if experiments[name].comparison.steady else one.twin
        said = (one.sentence, one.nothing_to_compare, unsteady, one.note)
        print(f"{name}: {' '.join(part for part in said if part)}")
        for energy in energies[name]:
            print(f"  {energy.line()}")
    return 0


@dataclass(frozen=True)
class AskedRequests:
    """So many requests of one length: input and output tokens of each."""

    requests: int
    tokens_in: int
    tokens_out: int


def _asked(arguments: argparse.Namespace) -> AskedRequests | None:
    """Return the requests that are asked for, if any. Raises UserError if an option is missing or not positive."""
    from greenllm.errors import UserError

    lengths = {"--tokens-in": arguments.tokens_in, "--tokens-out": arguments.tokens_out}
    if all(tokens is None for tokens in lengths.values()):
        return None
    for option, value in {**lengths, "--requests": arguments.requests}.items():
        if value is None:
            raise UserError(f"{option}: missing; expected --requests N --tokens-in N --tokens-out N together")
        if value < 1:
            raise UserError(f"{option} {value}: expected at least 1")
    return AskedRequests(arguments.requests, arguments.tokens_in, arguments.tokens_out)


@dataclass(frozen=True)
class RequestsEnergy:
    """What the requests that are asked for would take of a recipe (J); None with the reason where that is unknown.

    `beyond` are the measured lengths, in words, outside which they are; None where the energy per token is unknown.
    """

    asked: AskedRequests
    recipe: str
    energy_J: "Interval | None"
    beyond: Sequence[str] | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what is printed of it beside the recipe's name."""
        return {
            "energy_J": None if self.energy_J is None else self.energy_J.to_json(),
            "extrapolates": None if self.beyond is None else bool(self.beyond),
            "reason": self.reason,
        }

    def line(self) -> str:
        """Return it as a sentence."""
        from greenllm.report.numbers import plain, quantity

        asked = self.asked
        requests = f"{plain(asked.requests, 0)} requests of {asked.tokens_in} tokens in and {asked.tokens_out} out"
        if self.energy_J is None:
            return f"{self.recipe}: {requests}: unknown, {self.reason or 'it was not measured'}"
        caution = f"; extrapolated, since {' and '.join(self.beyond)} were measured" if self.beyond else ""
        return f"{self.recipe}: {requests} take {quantity(self.energy_J, 'J', ' to ')}{caution}"


def _energies(
    results: Path, asked: AskedRequests | None, experiment: str, account: "ExperimentAccount"
) -> list[RequestsEnergy]:
    """Return what the requests that are asked for would take of each recipe; nothing if none are asked for."""
    if asked is None:
        return []
    return [_energy(results, asked, experiment, row) for row in account.comparison.recipes]


def _energy(results: Path, asked: AskedRequests, experiment: str, row: "RecipeRow") -> RequestsEnergy:
    from greenllm.comparison.token_energy import TokenEnergyUnknown, energy_of_requests, extrapolates

    if row.token_energy is None:
        return RequestsEnergy(asked, row.recipe, None, None, row.token_energy_reason or row.reason)
    lengths = asked.tokens_in, asked.tokens_out
    beyond = extrapolates(row.token_energy, *lengths)
    context = _context(results, experiment, row)
    if context is not None and sum(lengths) > context:
        return RequestsEnergy(asked, row.recipe, None, beyond, f"the model's context is {context} tokens")
    try:
        found = energy_of_requests(row.token_energy, asked.requests, *lengths)
    except TokenEnergyUnknown as unknown:
        return RequestsEnergy(asked, row.recipe, None, beyond, str(unknown))
    return RequestsEnergy(asked, row.recipe, found, beyond, None)


def _context(results: Path, experiment: str, row: "RecipeRow") -> int | None:
    """Return the number of tokens that a recipe's model can read and write; None if that is not known here."""
    from greenllm.model_folder.manifest import FILE, read_manifest
    from greenllm.study import layout

    for seed in row.seeds_measured:
        bundle = layout.located(layout.BUNDLE, results, experiment=experiment, recipe=row.recipe, seed=seed)
        if (bundle / FILE).is_file():
            return read_manifest(bundle).context
    return None


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
