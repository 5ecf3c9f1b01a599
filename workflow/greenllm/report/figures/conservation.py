"""Where each counted joule went: the jobs, other processes, and idle time that no job reserved."""

from functools import partial

from matplotlib.axes import Axes

from greenllm.account.document import Account
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.style import BLUE, INK, MUTED
from greenllm.report.language import noted, text
from greenllm.report.numbers import prefix_for, quantity

# What a counted joule was spent on, with a colour and a pattern, so that they differ in black and white as well.
_PARTS = (
    ("jobs_J", noted("jobs"), BLUE, ""),
    ("other_J", noted("other processes"), "#c98a1b", "\\\\"),
    ("idle_J", noted("idle, reserved by no job"), "#d5d9d8", "//"),
)
Counted = dict[str, dict[str, float]]  # device → part → J


def conservation(account: Account) -> Drawing | None:
    """Draw each device's counted energy by what it was spent on; None where none was counted."""
    several = len({host.host for host in account.hosts}) > 1
    counted: Counted = {}
    for host in account.hosts:
        for device in host.devices:
            if device.component == "platform" or not device.counted_J:
                continue
            name = device.component.upper() + (f" {host.host}" if several else "")
            parts = counted.setdefault(name, {})
            for key, *_ in _PARTS:
                parts[key] = parts.get(key, 0.0) + (getattr(device, key) or 0.0)
    if not counted:
        return None
    words = "; ".join(
        f"{name}: " + ", ".join(f"{text(said)} {quantity(parts[key], 'J')}" for key, said, *_ in _PARTS)
        for name, parts in counted.items()
    )
    panel = Panel("", words, 0.6 + 0.28 * len(counted), partial(_draw, counted=counted))
    caption = text(
        "Every joule that a sensor counted or a model computed is in one part: the jobs', that of other processes, or "
        "that of idle time which no job had reserved."
    )
    return multiples(text("Where each counted joule went"), caption, [panel])


def _draw(axis: Axes, counted: Counted) -> None:
    scale, unit = prefix_for([sum(parts.values()) for parts in counted.values()], "J")
    for position, parts in enumerate(counted.values()):
        left = 0.0
        for key, said, colour, pattern in _PARTS:
            width = parts[key] / scale
            axis.barh(
                position, width, left=left, height=0.62, color=colour, edgecolor=INK if pattern else MUTED,
                hatch=pattern, linewidth=0.4, label=text(said),
            )  # fmt: skip
            left += width
    axis.set_yticks(range(len(counted)), list(counted))
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(text("energy ({unit})", unit=unit))
