"""What the study and its requests cost beyond joules: by scope, with what is not known, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.estimate import Interval
from greenllm.footprint.carbon import carbon_g
from greenllm.report.language import text
from greenllm.report.numbers import quantity
from greenllm.report.tables.thousand import NO_PRICE, NO_WATER


@dataclass(frozen=True)
class Scope:
    """A line of the section: what is counted, its energy, carbon, water and money as shown, and what is missing."""

    name: str
    energy: str
    carbon: str
    water: str
    cost: str
    missing: str = ""


@dataclass(frozen=True)
class ImpactSection:
    """What the section on impact shows: scopes, each wider than the one before, and sentences about the factors."""

    scopes: Sequence[Scope]
    notes: Sequence[str]


def impact_section(account: Account) -> ImpactSection:
    """Return the section's content from an account. Only energy and location-based carbon are in it today."""
    total, unknown = account.spent.total, text("unknown")
    idle_J = sum(
        device.idle_J or 0.0 for host in account.hosts for device in host.devices if device.component != "platform"
    )
    host = total.energy_J
    with_idle = None if host is None else Interval(*(one + idle_J for one in host))
    pue = account.pue
    with_pue = None if host is None or pue is None else Interval(*(one * pue for one in host))
    no_factor = text("{water}; {money}", water=text(NO_WATER), money=text(NO_PRICE))

    def scope(name: str, energy: Interval | None, missing: str = no_factor) -> Scope:
        """Return a scope whose energy is known or not."""
        carbon = quantity(carbon_g(energy, account.grid), "g CO₂e")
        return Scope(name, quantity(energy, "J"), carbon, unknown, unknown, missing)

    accelerators = [
        part.energy_J
        for job in account.jobs
        for part in job.components
        if part.component == "gpu" and part.energy_J is not None
    ]
    gpu = Interval(*(sum(bounds) for bounds in zip(*accelerators, strict=True))) if accelerators else None
    scopes = [
        scope(text("Accelerators"), gpu)
        if gpu
        else Scope(text("Accelerators"), "–", "–", "–", "–", text("no accelerator was metered")),
        scope(text("Hosts: all that the study's jobs used"), host),
        scope(text("with the idle time that no job had reserved"), with_idle),
        scope(text("with the site's cooling and distribution (PUE)"), with_pue, "" if pue else text("no PUE is given")),
        Scope(
            text("with the making of the equipment (embodied)"), "–", unknown, unknown, unknown,
            text("no embodied carbon and life of the equipment are given"),
        ),
    ]  # fmt: skip
    return ImpactSection(scopes, _notes(account))


def _notes(account: Account) -> list[str]:
    if account.grid is None:
        return [text("Carbon is unknown: {why}.", why=account.grid_reason)]
    grid = account.grid
    return [
        text(
            "Carbon is location-based, the mean of the grid without certificates or supply contracts: {factor} "
            "({place}; {years}). The interval of the factor: {interval}.",
            factor=quantity(grid, "g CO₂e/kWh"), place=grid.place, years=years(account), interval=grid.interval,
        ),
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
