"""Sentences about the factors of the site: the grid's value, years, interval, source; what is outdated or projected."""

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.report.language import text
from greenllm.report.numbers import quantity
from greenllm.report.site_words import outdated_said


def impact_notes(account: Account, footprint: Footprint | None) -> list[str]:
    """Return what a reader must know of the factors that the section on impact uses."""
    notes = carbon_notes(account)[:1]  # interval and source are in the derivation of each number
    if footprint is not None:
        notes += [
            text("Projection: {what}.", what="; ".join(footprint.projection)) if footprint.projection else "",
            outdated_said(footprint.outdated),
        ]
    return [one for one in notes if one]


def carbon_notes(account: Account) -> list[str]:
    """Return sentences about the grid's factor: value, place, years, interval, source and licence."""
    if account.grid is None:
        return [text("Carbon is unknown: {why}.", why=account.grid_reason)]
    grid = account.grid
    return [
        text(
            "Carbon is location-based, the mean of the grid without certificates or supply contracts: {factor} "
            "({place}; {years}).",
            factor=quantity(grid, "g CO₂e/kWh"), place=grid.place, years=years(account),
        ),
        text("The interval of the factor: {interval}.", interval=grid.interval),
        text("Source: {source}. Licence: {licence}.", source=grid.source, licence=grid.licence or text("not given")),
        *([text("The factor is outdated: it is more than two years old.")] if grid.outdated else []),
    ]  # fmt: skip


def years(account: Account) -> str:
    """Return the years that the grid factor is of."""
    grid = account.grid
    if grid is None or not grid.years:
        return text("year unknown")
    first, last = grid.years
    if first == last:
        return text("year {year}", year=first)
    return text("most of it of {year}, territories from {first} to {last}", year=grid.year, first=first, last=last)
