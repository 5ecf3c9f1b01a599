"""A frame as plain text that fits a screen."""

import itertools
from collections.abc import Iterator

from greenllm.report.names import moment
from greenllm.report.numbers import quantity
from greenllm.timestamps import rfc3339
from greenllm.watch.expectation import Remaining
from greenllm.watch.frame import Frame, OpenAttempt, WatchedHost, WatchedRun


def frame_text(frame: Frame, height: int, width: int) -> str:
    """Return a frame in at most `height` lines of at most `width` characters."""
    lines = [f"{frame.results} at {moment(rfc3339(frame.now_s))} UTC"]
    if not frame.runs:
        lines.append("nothing runs; nothing ran yet")
    for run in frame.runs:
        lines += _run(run, frame.now_s)
    lines += [_host(host) for host in frame.hosts]
    attempts = [one for run in frame.runs for one in run.open]
    room = max(1, height - len(lines))
    shown = attempts if len(attempts) <= room else attempts[: room - 1]
    lines += [_attempt(one, frame.now_s) for one in shown]
    if len(shown) < len(attempts):
        lines.append(f"  … and {len(attempts) - len(shown)} more that have not ended")
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines[:height])


def _run(run: WatchedRun, now_s: float) -> Iterator[str]:
    began = f"run {run.run_id}, began {moment(rfc3339(run.started_s))}"
    if run.goes_on:
        yield f"{began}, {duration(now_s - run.started_s)} ago"
    else:
        ended = "" if run.ended_s is None else f", was seen last {moment(rfc3339(run.ended_s))}"
        yield f"nothing runs; the last {began}{ended}"
    known = {state: number for state, number in run.jobs.items() if number is not None}
    counts = ", ".join(f"{number} {state}" for state, number in known.items())
    yield f"  jobs     {counts}" + (
        f", of {sum(known.values())}" if len(known) == len(run.jobs) else ", waiting unknown"
    )
    unknown = f", and {run.unknown} attempt(s) of unknown energy" if run.unknown else ""
    energy = "unknown energy" if run.energy is None else quantity(run.energy, "J")
    yield f"  so far   {energy} (provisional){unknown}"
    if run.goes_on:
        yield f"  left     {_expected(run.energy_left, 'J')}; {_expected(run.time_left, 's')}"


def _expected(expected: Remaining | None, unit: str) -> str:
    """Return what is left with its interval, and of which jobs that is unknown."""
    what = "energy" if unit == "J" else "time"
    if expected is None:
        return f"{what} unknown"
    unknown = ", ".join(f"{number} × {rule}" for rule, number in expected.unknown.items())
    if expected.known is None:
        return f"{what} unknown (no earlier job of {unknown})"
    if unit == "J":
        shown = quantity(expected.known, "J")
    else:
        shown = duration(expected.known.value)
        if expected.known.low is not None and expected.known.high is not None:
            shown += f" ({duration(expected.known.low)} to {duration(expected.known.high)})"
    if expected.known.low is None:
        shown += " (one earlier job: no interval)"
    return f"about {shown}" + (f" without {unknown}, unknown" if unknown else "")


def _host(host: WatchedHost) -> str:
    power = "power unknown" if host.power_W is None else quantity(host.power_W, "W")
    quality = f" ({' and '.join(host.qualities)})" if host.qualities else ""
    return f"  host     {host.host}: {power}{quality}, {host.jobs} job(s)"


def _attempt(one: OpenAttempt, now_s: float) -> str:
    start, attempt = one.attempt.start, one.attempt
    name = " ".join(map(str, [start.job.rule or "(no rule)", *start.job.wildcards.values()]))
    if attempt.state == "silent":
        return f"  silent   {name} on {start.host}: no sample for {duration(now_s - attempt.seen_s)}"
    parts = [] if one.power_W is None else [quantity(one.power_W, "W")]
    parts += [] if one.energy is None else [quantity(one.energy.value, "J")]
    again = f", attempt {start.job.attempt}" if (start.job.attempt or 1) > 1 else ""
    return f"  running  {name} on {start.host}{again}: {', '.join([duration(attempt.duration_s), *parts])}"


def duration(seconds: float) -> str:
    """Return a time in at most two units: `45 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (size, unit), (smaller, below) in itertools.pairwise(units):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"
