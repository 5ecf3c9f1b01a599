"""A factor: what turns a quantity into another, such as kilowatt hours into grams of CO2 equivalent."""

from dataclasses import dataclass

MOST_YEARS = 2  # a factor older than this is flagged: grids change by some percent a year


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A factor with its interval and source.

    `low` and `high` are 95 % bounds, or None where no source has any; `interval` says in words what they are. `name` is
    its kind, such as "grid carbon"; `place` is what it is valid for: a country, a provider, or a device.
    """

    name: str
    place: str
    value: float
    low: float | None = None
    high: float | None = None
    interval: str
    unit: str
    year: int | None
    source: str
    licence: str | None = None
    retrieved: str | None = None  # date (ISO 8601)
    note: str | None = None
    years: tuple[int, int] | None = None  # of a mean over territories: the oldest and the newest of their years

    def outdated(self, year: int) -> bool:
        """Whether it is too old for results of a year; one without a year can't be shown to be recent."""
        return self.year is None or year - self.year > MOST_YEARS
