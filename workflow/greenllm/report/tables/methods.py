"""How energy is known: sensors and models, their constants, and where each counted joule went."""

from greenllm.estimate import UNSEEN
from greenllm.report.numbers import quantity
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import UNKNOWN, Account

_DEVICE = (Column("host", "Host"), Column("component", "Component"), Column("device", "Device"))
_KNOWN = Column("quality", "Energy is", absent=UNKNOWN)


def methods(account: Account) -> Table:
    """One row a host, component and device: by which sensor or model its energy is known."""
    return Table(
        "methods",
        "How each component's energy was found",
        [
            *_DEVICE,
            Column("method", "Method"),
            _KNOWN,
            Column("energy_J", "Energy", "J", "number", UNKNOWN),
            Column("attempts", "Attempts", None, "number"),
            Column("parameters", "Parameters"),
            Column("reason", "Unknown because", if_known=True),
        ],
        [{**row, "parameters": ", ".join(row["parameters"])} for row in account["methods"]],
        ["Platform contains the other components; it is shown for comparison and never added."],
    )


def parameters(account: Account) -> Table:
    """One row a constant that the energies rest on; not each attempt's own errors, of what its readings left open."""
    return Table(
        "parameters",
        "Constants of sensors and models, with their 95 % interval and source",
        [
            Column("name", "Parameter"),
            Column("value", "Value", "1", "interval"),
            Column("unit", "Unit"),
            Column("source", "Source"),
        ],
        [
            {"name": name, "value": row, "unit": row["unit"], "source": row["source"]}
            for name, row in account["parameters"].items()
            if not name.startswith(UNSEEN)
        ],
    )


def conservation(account: Account) -> Table:
    """One row a device: what its sensor counted is the jobs', other processes' and idle energy."""
    return Table(
        "conservation",
        "Where each counted joule went: counted = jobs + other processes + unallocated idle",
        [
            *_DEVICE,
            _KNOWN,
            Column("counted_J", "Counted", "J", "number", UNKNOWN),
            Column("jobs_J", "Jobs", "J", "number", UNKNOWN, like="counted_J"),
            Column("other_J", "Other processes", "J", "number", UNKNOWN, like="counted_J"),
            Column("idle_J", "Idle", "J", "number", UNKNOWN, like="counted_J"),
        ],
        [{"host": host["host"], **device} for host in account["hosts"] for device in host["devices"]],
        [
            f"Attribution policy: {account['policy']}.",
            *_gaps(account),
            *(f"Trouble: {trouble}" for trouble in account["troubles"]),
        ],
    )


def _gaps(account: Account) -> list[str]:
    gaps = [gap for host in account["hosts"] for gap in host["gaps"]]
    if not gaps:
        return []
    duration = quantity(sum(gap["duration_s"] for gap in gaps), "s")
    return [f"Not watched, and counted nowhere: {duration} in {len(gaps)} {'gap' if len(gaps) == 1 else 'gaps'}."]
