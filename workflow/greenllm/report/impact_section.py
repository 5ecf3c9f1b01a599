"""What the study and its requests cost beyond joules: by scope, with what is not known, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.estimate import Interval, PartialInterval
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


def impact_section(account: Account, footprint: Footprint | None) -> ImpactSection:
    """Return the section's content: from the footprint, and without one what the account itself says."""
    scopes = _scopes_of_account(account) if footprint is None else _scopes(account, footprint)
    return ImpactSection(scopes, carbon_notes(account))


def _scopes(account: Account, footprint: Footprint) -> list[Scope]:
    total, site, unknown = footprint.total, footprint.site, text("unknown")
    no_pue = text("no PUE is given")
    missing = [
        text(why)
        for why, found in ((no_pue, total.site_J), (NO_WATER, total.water_L), (NO_PRICE, total.cost))
        if found is None
    ]
    currency = site.price.unit.split("/")[0] if site.price else ""
    accelerators = any(part.component == "gpu" for job in account.jobs for part in job.components)
    return [
        Scope(
            text("Accelerators"), quantity(total.accelerator_J, "J"),
            quantity(_carbon(total.accelerator_J, account), "g CO₂e"), "", "",
        )
        if accelerators
        else Scope(text("Accelerators"), "–", "–", "–", "–", text("no accelerator was metered")),
        Scope(
            text("Hosts: all that the study's jobs used"), quantity(total.host_J, "J"),
            quantity(_carbon(total.host_J, account), "g CO₂e"), "", "",
        ),
        Scope(
            text("with the idle time that no job had reserved"), quantity(total.it_J, "J"),
            quantity(total.carbon_it_g, "g CO₂e"), "", "",
        ),
        Scope(
            text("with the site's cooling and distribution (PUE)"), quantity(total.site_J, "J"),
            quantity(total.carbon_g, "g CO₂e"), quantity(total.water_L, "L"), quantity(total.cost, currency),
            "; ".join(missing),
        ),
        Scope(
            text("with the making of the equipment (embodied)"), "–", quantity(total.total_g, "g CO₂e"), unknown, "–",
            "" if total.embodied_g else text("no embodied carbon and life of the equipment are given"),
        ),
        Scope(
            text("by contract (market-based), beside the grid's"), "–", quantity(total.market_carbon_g, "g CO₂e"), "",
            "", "" if site.market_carbon else text("no factor of a contract is given"),
        ),
    ]  # fmt: skip


def _carbon(energy: PartialInterval | None, account: Account) -> PartialInterval | None:
    if energy is None or energy.low is None or energy.high is None:
        return None
    return carbon_g(Interval(energy.value, energy.low, energy.high), account.grid)


def _scopes_of_account(account: Account) -> list[Scope]:
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
    return [
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


def carbon_notes(account: Account) -> list[str]:
    """Return sentences about the grid's factor: value, place, years, interval, source and licence."""
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
