"""`greenllm probe`: the sensors of this host, their power now, and the holders of its devices."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenllm.estimate import Estimate
from greenllm.meter.counter_growth import STOOD
from greenllm.meter.discovery import find_sensors
from greenllm.meter.host import boot_id, host_name, memory_GiB, processor_count, processor_identity
from greenllm.meter.leases import Holder, NoLocksError, cpu_locks, holders_of, lock_folder, usable_cpus
from greenllm.meter.process_tree import ProcessTree
from greenllm.meter.provisional import Provisional
from greenllm.meter.sampler import Sampler
from greenllm.meter.sensors import Sensor
from greenllm.meter.sensors.external import JOULES, WATTS
from greenllm.meter.sensors.nvml import Gpu
from greenllm.meter.sensors.reading import KEY
from greenllm.option_ranges import number
from greenllm.printing import print_json

# The command of a meter outside the host may be slow (s).
FIRST_ANSWER_S = 3.0
# The time between samples if no sensor needs polling (s): several samples identify zones that show one counter.
SAMPLE_S = 0.1
# The default time of watching (s): enough to see a counter move.
LONG_ENOUGH_S = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        f"A meter outside the host is named by ${WATTS} or ${JOULES}: a file, or !COMMAND. Its number is read with its "
        f"unit (W, kW, mW, J, Wh, kWh, ...; without one: watts, joules). Of several, ${KEY} names the one to take: the "
        "words before it, its place (1, 2, ...), or its path in JSON."
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON (power in watts)")
    parser.add_argument(
        "--seconds",
        type=number(0.05, 60, "seconds"),
        default=LONG_ENOUGH_S,
        metavar="S",
        help="how long to watch the sensors, in seconds (default %(default)g)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what can be measured."""
    found = probe(arguments.seconds)
    if arguments.json:
        print_json(found)
    else:
        print(_as_text(found))
    return 0


def probe(seconds: float) -> dict[str, Any]:
    """Watch the sensors for some seconds; return host, sensors (with their power now in W), and locks."""
    gpus, sensors = find_sensors()
    try:
        return _found(gpus, sensors, seconds)
    finally:
        for sensor in sensors:
            if sensor.close is not None:
                sensor.close()


def _found(gpus: Sequence[Gpu], sensors: Sequence[Sensor], seconds: float) -> dict[str, Any]:
    sampler = Sampler(sensors, [gpu.uuid for gpu in gpus], ProcessTree())
    watching = Provisional(sensors, sampler.columns, [gpu.uuid for gpu in gpus], 1, 1.0, "probe")
    first, waits_until_s = sampler.sample()[-1], time.monotonic() + FIRST_ANSWER_S
    while sampler.awaited and time.monotonic() < waits_until_s:
        time.sleep(SAMPLE_S)
        first = sampler.sample()[-1]
    began_s = time.monotonic()
    watching.add(first)
    while (left_s := began_s + seconds - time.monotonic()) > 0:
        for row in sampler.poll() if sampler.poll_s else sampler.sample():
            watching.add(row)
        time.sleep(min(left_s, sampler.poll_s or SAMPLE_S))
    for row in sampler.sample():
        watching.add(row)
    counted, repeated = watching.counted(), watching.repeated
    read = {device for _, device in counted}
    troubles = {name: trouble for name, trouble in sampler.troubles.items() if name not in read}
    reasons = {(c.component, c.device): c.reason for c in watching.components(host_name(), seconds, [], troubles, {})}
    for sensor in sensors:
        key = sensor.component, sensor.device
        if key in counted and _stood_still(sensor, counted[key], seconds):
            del counted[key]
            reasons[key] = f"{reasons[key]}; {STOOD}" if reasons.get(key) else STOOD
    try:
        folder: str | None = str(lock_folder())
        names = [f"gpu-{gpu.uuid}" for gpu in gpus] + cpu_locks(exclusive=True)
        holders = holders_of(Path(str(folder)), names)
        locks_reason = None
    except NoLocksError as error:
        folder, holders, locks_reason = None, [], f"{error}; set GREENLLM_LOCKS to a folder all users may write to"
    return {
        "host": host_name(),
        "boot_id": boot_id(),
        "processors": {
            "online": processor_count(),
            "usable": len(usable_cpus()),
            "model": processor_identity().get("model name"),
        },
        "memory_GiB": memory_GiB(),
        "gpus": [{"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name} for gpu in gpus],
        "sensors": [
            {
                **{name: getattr(s, name) for name in ("component", "device", "method", "quality")},
                "reason": reasons.get((s.component, s.device)),
                "readable": bool(s.terms),
                "counted_with": repeated.get((s.component, s.device)),
                "power_W": energy.scaled(1 / seconds).to_json()
                if (energy := counted.get((s.component, s.device))) and (s.component, s.device) not in repeated
                else None,
                "sources": sorted({parameter.source for parameter in s.parameters.values()}),
            }
            for s in sensors
        ],
        "locks": {
            "folder": folder,
            "reason": locks_reason,
            "devices": [{"name": h.name, "held": h.held, "holder": h.record or None} for h in holders],
        },
    }


def _stood_still(sensor: Sensor, energy: Estimate, seconds: float) -> bool:
    """Whether a counter did not move although a working one would have."""
    counter = sensor.counter
    if counter is None or counter.still_s is None or seconds < min(counter.still_s, LONG_ENOUGH_S):
        return False
    own = {term.parameter for term in sensor.terms if term.of == "counter"}
    return not any(coefficient for name, coefficient in energy.terms.items() if name in own)


def _as_text(found: dict[str, Any]) -> str:
    processors, memory_GiB = found["processors"], found["memory_GiB"]
    lines = [
        f"{found['host']}: {processors['online']} processors ({processors['model'] or 'model unknown'}), "
        f"{processors['usable']} usable; {f'{memory_GiB:.1f} GiB memory' if memory_GiB else 'memory unknown'}; "
        f"{len(found['gpus'])} GPU(s)",
        "",
        "Sensors, and their power now in watts (95 % bounds):",
    ]
    for sensor in found["sensors"]:
        power = sensor["power_W"]
        watts = f"{power['value']:.1f} W ({power['low']:.1f} to {power['high']:.1f})" if power else "cannot be read"
        if sensor["counted_with"]:
            watts = f"counted with {sensor['counted_with']}, whose counter it shows"
        lines.append(
            f"  {sensor['component']:8} {sensor['device']}: {watts}, {sensor['quality']} by {sensor['method']}"
        )
        lines += [f"           {sensor['reason']}"] if sensor["reason"] else []
        lines += [f"           source: {source}" for source in sensor["sources"]]
    if not found["gpus"]:
        lines.append("  gpu      none: jobs run on the processors")
    locks = found["locks"]
    lines += ["", f"Leases, in {locks['folder'] or 'no folder: ' + str(locks['reason'])}:"]
    for lock in locks["devices"]:
        holder = Holder(lock["name"], lock["held"], lock["holder"] or {})
        lines.append(f"  {lock['name']}: {'held by ' + holder.describe() if lock['held'] else 'free'}")
    return "\n".join(lines)
