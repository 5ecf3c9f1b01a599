"""How energy is known: sensors and models, their constants, and where each counted joule went."""

from dataclasses import dataclass

from greenllm.account.document import Account, MethodRow
from greenllm.attribution.result import DeviceTotals
from greenllm.estimate import UNSEEN, Parameter
from greenllm.report.language import plural, text
from greenllm.report.numbers import quantity
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import UNKNOWN, inside

_DEVICE = (Column("host", "Host"), Column("component", "Component"), Column("device", "Device"))
_KNOWN = Column("quality", "Energy is", absent=UNKNOWN, words=True)


@dataclass(frozen=True)
class ParameterRow:
    """A constant with its name."""

    name: str
    constant: Parameter


@dataclass(frozen=True)
class ConservationRow(DeviceTotals):
    """A device with its host."""

    host: str = ""


def methods(account: Account) -> Table:
    """One row a host, component and device: by which sensor or model its energy is known."""
    return Table(
        "methods",
        "How each component's energy was found",
        MethodRow,
        [
            *_DEVICE,
            Column("method", "Method"),
            _KNOWN,
            Column("energy_J", "Energy", "J", "number", UNKNOWN),
            Column("attempts", "Attempts", None, "number"),
            Column("parameters", "Parameters"),
            Column("reason", "Unknown because", if_known=True),
        ],
        account.methods,
        [text("Platform contains the other components; it is shown for comparison and never added.")],
    )


def parameters(account: Account) -> Table:
    """One row per constant of a sensor or model. What each attempt's own readings left open is left out."""
    return Table(
        "parameters",
        "Constants of sensors and models, with their 95 % interval and source",
        ParameterRow,
        [
            Column("name", "Parameter"),
            Column("value", "Value", "1", "interval", field="constant"),
            *inside("constant", Column("unit", "Unit"), Column("source", "Source")),
        ],
        [ParameterRow(name, one) for name, one in account.parameters.items() if not name.startswith(UNSEEN)],
    )


def conservation(account: Account) -> Table:
    """One row a device: what its sensor counted is the jobs', other processes' and idle energy."""
    return Table(
        "conservation",
        "Where each counted joule went: counted = jobs + other processes + unallocated idle",
        ConservationRow,
        [
            *_DEVICE,
            _KNOWN,
            Column("counted_J", "Counted", "J", "number", UNKNOWN),
            Column("jobs_J", "Jobs", "J", "number", UNKNOWN, like="counted_J"),
            Column("other_J", "Other processes", "J", "number", UNKNOWN, like="counted_J"),
            Column("idle_J", "Idle", "J", "number", UNKNOWN, like="counted_J"),
        ],
        [ConservationRow(**vars(device), host=host.host) for host in account.hosts for device in host.devices],
        [
            text("Attribution policy: {policy}.", policy=text(account.policy)),
            *_gaps(account),
            *(text("Trouble: {trouble}", trouble=trouble) for trouble in account.troubles),
        ],
    )


def _gaps(account: Account) -> list[str]:
    gaps = [gap for host in account.hosts for gap in host.gaps]
    if not gaps:
        return []
    duration = quantity(sum(gap.duration_s for gap in gaps), "s")
    return [
        plural(
            "Not metered, so counted nowhere: {duration} in {count} gap.",
            "Not metered, so counted nowhere: {duration} in {count} gaps.",
            len(gaps), duration=duration,
        )
    ]  # fmt: skip
