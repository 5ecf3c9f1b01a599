"""The result in Markdown, for benchmarks/README.md."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from gpu_parts.records import Agreement, Window


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def agreement_table(found: Sequence[Agreement]) -> str:
    """Return the meter's energies, and how far each other reader is from the card's counter."""
    rows = [
        [
            one.load,
            f"{one.seconds:.1f}",
            f"{one.meter_J:.1f} ({one.meter_low_J:.1f} to {one.meter_high_J:.1f})",
            "unknown" if one.counter_J is None else f"{one.counter_J:.1f}",
            *(
                _against(part_J, one.counter_J)
                for part_J in (one.meter_J, one.mean_power_J, one.instant_power_J, one.corrected_J)
            ),
        ]
        for one in found
    ]
    headers = ["load", "s", "meter, J (95 %)", "counter, J", "meter", "shown power", "its instant", "corrected"]
    return table(headers, rows)


def _against(part_J: float | None, counter_J: float | None) -> str:
    if part_J is None or not counter_J:
        return "unknown"
    return f"{100 * (part_J / counter_J - 1):+.2f} %"


def windows_table(found: Sequence[Window], unit: str) -> str:
    """Return each setting's medians over its rounds, with the least and the most energy."""
    by_setting: dict[str, list[Window]] = {}
    for one in found:
        by_setting.setdefault(one.setting, []).append(one)
    rows = [_setting_row(name, own) for name, own in sorted(by_setting.items(), key=lambda pair: _place(pair[1]))]
    headers = ["", f"{unit}/s", "W", f"J per 1,000 {unit} (least to most)", f"{unit}/J", "memory, GB", "windows"]
    return table(headers, rows)


def _place(windows: Sequence[Window]) -> tuple[int, str]:
    return windows[0].batch, windows[0].setting


def _setting_row(name: str, windows: Sequence[Window]) -> list[str]:
    spent_J = [1000 * one.energy_J / one.tokens for one in windows]
    return [
        name,
        f"{statistics.median(one.tokens / one.seconds for one in windows):,.0f}",
        f"{statistics.median(one.energy_J / one.seconds for one in windows):.0f}",
        f"{statistics.median(spent_J):.3g} ({min(spent_J):.3g} to {max(spent_J):.3g})",
        f"{1000 / statistics.median(spent_J):.3g}",
        f"{max(one.peak_memory_B for one in windows) / 1e9:.1f}",
        str(len(windows)),
    ]


def facts(known: Mapping[str, str]) -> str:
    """Return what was measured on, as one line."""
    return "; ".join(f"{name} {value}" for name, value in known.items())
