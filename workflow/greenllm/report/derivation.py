"""How a number of the page is derived: its formula, the files that it is computed from, the factors that enter it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from greenllm.account.document import Account, JobRow
from greenllm.account.footprint_document import Footprint
from greenllm.estimate import UNSEEN, Parameter
from greenllm.footprint.carbon import GridFactor
from greenllm.report.language import listed, text
from greenllm.report.numbers import TO, with_bounds
from greenllm.report.site_words import equipment_said, site_factors_said

# What a number of the footprint is computed from, beside ledgers.
FOOTPRINT_FILES = ("account/footprint.json", "account/account.json", "account/attribution.json")
MEASURED = ("sensors", "policy")  # factors of every number that comes from an energy
MOST_FILES = 40  # of one row on the page; where there are more, the page says which rows of tables/ledgers.csv they are


@dataclass(frozen=True)
class Origin:
    """What a row is computed from: files below the results folder, and how many more ledgers there are.

    `chosen` says in words which attempts these are: they are rows of tables/ledgers.csv.
    """

    files: Sequence[str] = ()
    more: int = 0
    chosen: str = ""

    def with_all_of(self, other: "Origin") -> "Origin":
        """Return the origin of what is computed from what both name."""
        chosen = "; ".join(filter(None, (self.chosen, other.chosen)))
        return Origin([*dict.fromkeys([*self.files, *other.files])], self.more + other.more, chosen)


class Ledgers:
    """The ledgers of an account's attempts."""

    def __init__(self, account: Account) -> None:
        self.jobs = account.jobs
        self._seeds = {name: one.comparison.seeds for name, one in account.experiments.items()}
        self._paths = {ledger.id: f"ledger/{ledger.path}" for ledger in account.ledgers}
        self._made: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._chains: dict[tuple[str, str], set[str]] = defaultdict(set)
        for model in account.models:
            key = model.experiment, model.recipe
            self._made[key] += [one for step in model.cost_to_produce.steps for one in step.ids]
            self._chains[key] |= {*model.chain}
        self._by_experiment: dict[str | None, list[JobRow]] = defaultdict(list)
        for job in self.jobs:
            self._by_experiment[job.experiment].append(job)

    def of(self, ids: Iterable[str], others: Sequence[str] = (), chosen: str = "") -> Origin:
        """Return the origin of a row that is computed from some attempts and from `others` of the results' files."""
        paths = [self._paths[one] for one in ids if one in self._paths]
        return Origin([*others, *paths[:MOST_FILES]], max(0, len(paths) - MOST_FILES), chosen)

    def where(
        self, experiment: str | None, keep: Callable[[JobRow], bool], others: Sequence[str] = (), chosen: str = ""
    ) -> Origin:
        """Return the origin of a row that is computed from those attempts of an experiment that `keep` accepts.

        The experiment "all" is the whole study.
        """
        found = self.jobs if experiment == "all" else self._by_experiment[experiment]
        return self.of((job.id for job in found if keep(job)), others, chosen)

    def all(self, others: Sequence[str]) -> Origin:
        """Return the origin of a row that is computed from all attempts of the study."""
        return self.where("all", lambda job: True, others, text("all attempts of the study"))

    def made(self, experiment: str, *recipes: str, others: Sequence[str] = ()) -> Origin:
        """Return the origin of what it took to make recipes' models once, their ancestors included."""
        return self.of(dict.fromkeys(one for recipe in recipes for one in self._made[experiment, recipe]), others)

    def chain(self, experiment: str, *recipes: str) -> set[str]:
        """Return recipes and those that their models are made from."""
        return {*recipes}.union(*(self._chains[experiment, recipe] for recipe in recipes))

    def requests(self, experiment: str, *recipes: str) -> Origin:
        """Return the origin of what the footprint says of requests to recipes' servers, those of all seeds."""
        return self.served(experiment, self._seeds[experiment], *recipes, others=FOOTPRINT_FILES)

    def served(self, experiment: str, seeds: Iterable[int], *recipes: str, others: Sequence[str] = ()) -> Origin:
        """Return the origin of what recipes' servers took: their ledgers, and the results of measuring them.

        `others` are files that it is computed from as well.
        """
        names = listed(list(dict.fromkeys(recipes)))
        return self.where(
            experiment,
            lambda job: job.rule == "serve" and job.recipe in recipes and job.standing == "current",
            [*others, *(f"measurements/{experiment}/seed-{seed}.json" for seed in seeds)],
            text(
                "attempts of rule serve, experiment {experiment}, recipe {recipe}", experiment=experiment, recipe=names
            ),
        )


def _constant(one: Parameter) -> str:
    """Return a constant with all its digits and bounds."""
    shown = f"{one.value:.10g} {one.unit}"
    return with_bounds(shown, f"{one.low:.10g}" + text(TO) + f"{one.high:.10g}")


def _bounds(grid: GridFactor) -> str:
    return "" if grid.low is None or grid.high is None else f"{grid.low:.10g}" + text(TO) + f"{grid.high:.10g}"


def factors(account: Account, footprint: Footprint | None = None) -> dict[str, str]:
    """Return what enters numbers besides the ledgers, each in words with its interval and source, by name."""
    found = {
        "sensors": "\n".join(
            text(
                "{name} = {value}; source: {source}",
                name=name,
                value=_constant(one),
                source=one.source,
            )
            for name, one in account.parameters.items()
            if not name.startswith(UNSEEN)
        ),
        "policy": text("Attribution policy: {policy}.", policy=text(account.policy)),
    }
    if grid := account.grid:
        found["grid"] = text(
            "Grid carbon = {value}, {place}, {year}; {interval}; source: {source}; licence: {licence}",
            value=with_bounds(f"{grid.value:.10g} g CO₂e/kWh", _bounds(grid)),
            place=grid.place, year=grid.year or text("year unknown"),
            interval=grid.interval, source=grid.source, licence=grid.licence or text("not given"),
        )  # fmt: skip
    else:
        found["grid"] = text("Grid carbon is unknown: {why}.", why=account.grid_reason)
    found["pue"] = (
        text("Power usage effectiveness of the site = {pue}, from site.pue of the configuration.", pue=account.pue)
        if account.pue
        else text("Power usage effectiveness of the site: unknown (site.pue is not set).")
    )
    if footprint is not None:
        found |= site_factors_said(footprint.site) | {"equipment": equipment_said(footprint.equipment)}
    return found
