"""footprint.json: what a study's energy means at a site. These types are its format."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from greenllm.comparison.rows import BreakEven
from greenllm.documents.document import Number, validated
from greenllm.errors import UserError
from greenllm.estimate import PartialInterval
from greenllm.files import read_json
from greenllm.footprint.consequences import Consequences
from greenllm.footprint.rows import AccountPart
from greenllm.footprint.site_factors import Equipment, SiteFactors

SCHEMA: Literal["greenllm/footprint/1"] = "greenllm/footprint/1"
REMEDY = "run `greenllm footprint` again"
Measure = Literal["energy", "carbon", "cost"]


class SourceFile(AccountPart):
    """A file that the footprint was computed from, relative to the results folder."""

    path: str
    sha256: str


class Method(AccountPart):
    """How intervals were found."""

    draws: int
    seed: int
    interval: str


class Indicators(AccountPart):
    """The site's indicators: PUE, ERE, ERF, REF, WUE (L/kWh) and CUE (kgCO2e/kWh) of ISO/IEC 30134 and The Green Grid.

    CUE is that of this study's electricity; embodied carbon is no part of it. None is unknown.
    """

    pue: PartialInterval | None
    ere: PartialInterval | None
    erf: PartialInterval | None
    ref: PartialInterval | None
    wue: PartialInterval | None
    cue: PartialInterval | None


class PerUnit(AccountPart):
    """Grams for each functional unit: operations and embodied together are SCI (ISO/IEC 21031).

    `is_sci` is False where a part is missing (`lacks`); `value_g` is then None, and `operational_g` what is known.
    """

    unit: str
    units: Number
    is_sci: bool
    value_g: PartialInterval | None
    operational_g: PartialInterval | None
    embodied_g: PartialInterval | None
    lacks: list[str]


class _Place(AccountPart):
    experiment: str
    recipe: str
    stage: str


class FootprintRow(Consequences, _Place):
    """A stage, or a sum ("all") over stages, recipes or experiments; names are those of the table `impact`."""

    attempts: int
    unknown: list[str]


class FootprintJob(Consequences):
    """One attempt; `sci` is for each unit of work that it reported."""

    id: str
    sci: list[PerUnit]
    unknown: list[str]


class _Recipe(AccountPart):
    experiment: str
    recipe: str


class RequestsFootprint(Consequences, _Recipe):
    """A thousand requests to a recipe's server under load (no host was idle meanwhile), without making the model."""

    sci: PerUnit
    unknown: list[str]


class ProductionFootprint(Consequences, _Recipe):
    """What it took to make a recipe's model, each ancestor once: the mean over seeds."""

    unknown: list[str]


class Score(PerUnit, _Recipe):
    """A score of SCI for AI: the consumer's (operation) or the provider's (all attempts that made the model: gross)."""

    score: Literal["consumer", "provider"]
    boundary: str


class Widening(AccountPart):
    """How much of an interval a constant causes: its share of the variance of the quantity's logarithm.

    The quantity is one of `Consequences`: of the whole study, or of a request to the recommended recipe of an
    `experiment`.
    """

    experiment: str | None
    quantity: str
    constant: str
    share: Number


class Stretch(AccountPart):
    """A range of a factor, and the recipes that are best in it: several, where they can't be told apart."""

    recipes: list[str]
    low: Number
    high: Number


class Sweep(AccountPart):
    """The ranking of recipes by a measure, over the range of one factor, others as they are.

    `holds`: the recommended recipe is best, or can't be told apart from the best one, over the whole range.
    """

    measure: Measure
    factor: str
    unit: str
    low: Number
    high: Number
    why: str
    best: list[Stretch]
    holds: bool


class RequestsPerDay(AccountPart):
    """A recipe's energy, carbon and cost for each request, at a number of requests a day to one server.

    The server is idle between them, and what it holds is reserved the whole day. Making the model is not included.
    """

    recipe: str
    requests_per_day: Number
    energy_J: PartialInterval | None
    carbon_g: PartialInterval | None
    cost: PartialInterval | None


class Repayment(AccountPart):
    """What a recipe's model takes more to be made than the baseline's, what a request saves, and when that is even.

    Energy in J, carbon in g (embodied included where known), cost in the currency of the price.
    """

    recipe: str
    measure: Measure
    extra: PartialInterval | None
    saved_per_request: PartialInterval | None
    requests: BreakEven | None


class DecisionOverFactors(AccountPart):
    """Whether an experiment's recommendation survives its factors.

    `first`: by measure, the recipes with the least value at the site: several, where they can't be told apart.
    `everywhere`: the recommended recipe has the least carbon, or can't be told apart from the one that has, at every
    combination of the factors' bounds; `combinations` is the share of random combinations where that is so.
    `candidates` are the recipes that are good enough. `reason`: why nothing can be said.
    """

    experiment: str
    recommended: str | None
    candidates: list[str]
    reason: str | None
    embodied: bool
    first: dict[Measure, list[str]]
    everywhere: bool | None
    combinations: Number | None
    sweeps: list[Sweep]
    per_day: list[RequestsPerDay]
    repayments: list[Repayment]


class Elsewhere(Consequences):
    """A projection: the same run at another place."""

    place: str
    year: int | None


class Footprint(AccountPart):
    """What a study's energy means. `projection` says where the site is not that of the study; empty: nowhere."""

    schema_: Literal["greenllm/footprint/1"] = Field(SCHEMA, alias="schema")
    until: str | None
    sources: list[SourceFile]
    projection: list[str]
    year: int
    method: Method
    site: SiteFactors
    equipment: list[Equipment]
    outdated: list[str]
    unknown: dict[str, str]  # quantity → why it is unknown
    unbounded: list[str]  # factors without bounds: what depends on them has none
    covered: Number | None  # share of the jobs' time that the grid's series covers
    indicators: Indicators
    rows: list[FootprintRow]
    requests: list[RequestsFootprint]
    production: list[ProductionFootprint]
    scores: list[Score]
    widening: list[Widening]
    decisions: list[DecisionOverFactors]
    elsewhere: list[Elsewhere]
    jobs: list[FootprintJob]

    @property
    def total(self) -> FootprintRow:
        """The whole study."""
        return self.rows[-1]

    @classmethod
    def read(cls, path: Path, remedy: str = REMEDY) -> "Footprint":
        """Read a footprint.json. Raises UserError if it is missing (with `remedy`) or is not one."""
        found = read_json(path, remedy)
        if found.get("schema") != SCHEMA:
            raise UserError(f"{path}: expected schema {SCHEMA!r}; {REMEDY}")
        return validated(cls, found, path, REMEDY)
