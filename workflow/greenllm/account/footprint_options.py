"""The options of a footprint, as the command takes them: the site, the year, the factors that a user gives."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from greenllm.errors import UserError
from greenllm.option_ranges import seed

GIVEN = {
    "carbon": "carbon of the grid, in gCO2e/kWh (default: that of the place)",
    "marginal-carbon": "marginal carbon of the grid, in gCO2e/kWh",
    "market-carbon": "carbon of the electricity by contract, in gCO2e/kWh, reported beside the grid's",
    "grid-water": "water consumed where the electricity is generated, in L/kWh",
    "pue": "energy of the site for each kWh of its IT equipment (at least 1)",
    "wue": "water used on site, in L for each kWh of the IT equipment",
    "erf": "share of the site's energy that is reused, 0 to 1",
    "renewable": "share of the site's energy that is renewable, 0 to 1",
    "heat-carbon": "carbon of the heating that reused heat displaces, in gCO2e/kWh",
    "price": "price of electricity for each kWh",
}
DRAWS, SEED = 10_000, 1
LEAST_DRAWS, MOST_DRAWS = 100, 1_000_000


@dataclass(frozen=True, kw_only=True)
class FootprintOptions:
    """What a footprint is computed with beside the account. Without options: the study's own site and year.

    `given` has the text of each factor that the user gives, by option; `elsewhere` the countries that the total is
    projected to; `start` is the time at which the first job begins in a projection (ISO 8601).
    """

    country: str | None = None
    year: int | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    currency: str = ""
    start: str | None = None
    elsewhere: Sequence[str] = ()
    draws: int = DRAWS
    seed: int = SEED

    def __post_init__(self) -> None:
        """Raise UserError for a number of draws out of range."""
        if not LEAST_DRAWS <= self.draws <= MOST_DRAWS:
            raise UserError(f"--draws {self.draws}: expected {LEAST_DRAWS} to {MOST_DRAWS}")

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "FootprintOptions":
        """Return the options of a command that `add_options` has described."""
        texts = {option: getattr(arguments, option.replace("-", "_")) for option in GIVEN}
        return cls(
            country=arguments.country,
            year=arguments.year,
            given={option: text for option, text in texts.items() if text is not None},
            currency=arguments.currency,
            start=arguments.start,
            elsewhere=arguments.elsewhere,
            draws=arguments.draws,
            seed=arguments.seed,
        )

    @classmethod
    def parse(cls, words: Sequence[str]) -> "FootprintOptions":
        """Return the options among the words of a command; words that are none of them are left out.

        Raises UserError if an option has no value, or one that is not valid.
        """
        parser = _Parser(add_help=False)
        add_options(parser)
        return cls.of(parser.parse_known_args(words)[0])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a footprint to those of a command."""
    parser.add_argument("--country", metavar="C", help="ISO 3166 alpha-3 code, or WORLD (default: the study's site)")
    parser.add_argument("--year", type=int, metavar="Y", help="year of the factors (default: that of the last job)")
    for option, text in GIVEN.items():
        parser.add_argument(
            f"--{option}", metavar="F", help=f"{text}; a number, or LOW:VALUE:HIGH with its 95 %% bounds"
        )
    parser.add_argument("--currency", metavar="CODE", default="", help="currency of the price, such as EUR")
    parser.add_argument(
        "--start", metavar="TIME", help="as if the first job had begun then (ISO 8601): needs a series of the grid"
    )
    parser.add_argument(
        "--elsewhere", action="append", default=[], metavar="C",
        help="project the total to this country, too (repeat; default: site.elsewhere of the configuration)",
    )  # fmt: skip
    parser.add_argument("--draws", type=int, default=DRAWS, metavar="N", help=f"draws of the Monte Carlo ({DRAWS})")
    parser.add_argument("--seed", type=seed, default=SEED, metavar="N", help=f"seed of the Monte Carlo ({SEED})")
