"""Platform power from outside (a PDU, a BMC, a wall meter): joules or watts from a file or from a command's output.

A command may be slow or hang, so a separate reader process runs it: `python -m greenllm.meter.sensors.external`. For
each byte on its stdin it runs the command once and answers with a line of JSON. It ends when its stdin does, so with
the meter in any case, and ends the command's processes.
"""

import contextlib
import json
import math
import os
import re
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenllm.estimate import Parameter
from greenllm.meter.counter_growth import UnknownGrowthError, growth
from greenllm.meter.host import host_name, sysfs
from greenllm.meter.process_tree import become_subreaper, children_of, helpers
from greenllm.meter.sensors import Counter, NoAnswerYetError, Sensor, SensorError, Term

if TYPE_CHECKING:
    from greenllm.meter.units import Quantity

JOULES, WATTS = "GREENLLM_PLATFORM_JOULES", "GREENLLM_PLATFORM_WATTS"
WRAP, TOLERANCE = "GREENLLM_PLATFORM_WRAP_J", "GREENLLM_PLATFORM_TOLERANCE"
DEVICE = "external"

DEFAULT_TOLERANCE = 0.1
ASSUMED = f"our assumption, since ${TOLERANCE} does not say"

POLL_S = 1.0
COMMAND_LIMIT_S = 10.0
# Programs that poll a PDU often do so once a minute: after two missed readings a source counts as silent.
SILENT_S = 120.0
# The bound that distinguishes a wrap-around from a reset. A counter that is renewed every minute shows the energy of a
# minute at once: 8.4 MJ of a rack of 140 kW, between two samples 0.1 s apart. If the counter wraps early, the
# bound is half a wrap in the time between two readings, and a larger step is a reset.
HIGHEST_W = 1e8
# An integral falls by this much where it restarts: more than it can have grown meanwhile.
FALL_J = HIGHEST_W * COMMAND_LIMIT_S
LONGEST_TEXT = 65536
QUANTITIES: "dict[str, Quantity]" = {JOULES: "energy", WATTS: "power"}
# Units of sysfs by file name (Linux, Documentation/hwmon/sysfs-interface.rst, power/powercap/powercap.rst,
# ABI/testing/sysfs-class-power): they hold bare numbers.
KERNEL_UNITS = {
    r"power\d+_\w+|\w+_uw|power_now": "µW",
    r"energy\d+_\w+|\w+_uj": "µJ",
    r"energy_now": "µWh",
}


def find() -> list[Sensor]:
    """Return the sensor that the environment names, with a reason if it cannot be read; an empty list for none."""
    given = [(name, value) for name in (JOULES, WATTS) if (value := os.environ.get(name, "").strip())]
    if not given:
        return []
    name, source = given[0]
    quantity = "joules" if name == JOULES else "watts"
    method = f"{quantity}-{'command' if source.startswith('!') else 'file'}"
    sensor = Sensor("platform", DEVICE, method, "measured")
    try:
        if len(given) > 1:
            raise SensorError(f"{JOULES} and {WATTS} are both set: unset one")
        wrap_J, gain = _wrap_J(), _gain()
        latest, sensor.close = _source(name, source)
    except SensorError as error:
        sensor.reason = str(error)
        return [sensor]
    if method == "joules-file":
        sensor.counter = _counter(wrap_J, POLL_S)
        sensor.read = lambda: latest()[1]
    else:
        # A command's output is some time old, so the counts of two meters are not in the order of time.
        integral = Integral(wrap_J)
        sensor.counter = Counter(unit_J=1.0, shared=False, silent_s=None if name == JOULES else SILENT_S)
        if name == JOULES:
            sensor.read = lambda: integral.joules(*latest())
        else:
            sensor.read = lambda: integral.watts(*latest(), time.monotonic())
        sensor.poll_s = POLL_S
    parameter = f"external.gain@{host_name()}"
    sensor.terms = [Term(parameter, "counter")]
    sensor.parameters = {parameter: gain}
    return [sensor]


def _source(name: str, source: str) -> tuple[Callable[[], tuple[float, float]], Callable[[], None] | None]:
    """Return a function for the latest reading, as its time (CLOCK_MONOTONIC, s) and number; and one that ends it."""
    if not source.startswith("!"):
        path = Path(source)
        read_file(name, path)
        return lambda: read_file(name, path), None
    if os.environ.get("GREENLLM_METER_ID"):
        raise SensorError(f"{name}: the meter around this one runs the command; `greenllm attribute` shares it out")
    reader = CommandReader(name, source[1:])
    return reader.latest, reader.close


def _counter(wrap_J: float | None, apart_s: float) -> Counter:
    """The source's own counter of joules, read every `apart_s` at least."""
    return Counter(unit_J=1.0, wrap=wrap_J, max_W=min(HIGHEST_W, wrap_J / 2 / apart_s) if wrap_J else HIGHEST_W)


def _wrap_J() -> float | None:
    text = os.environ.get(WRAP, "").strip()
    if not text:
        return None
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise SensorError(f"{WRAP}={text}: expected the joules at which the counter starts again at zero")


def _gain() -> Parameter:
    """The gain, with a relative tolerance (95 %); the variable may name its source after the number."""
    text = os.environ.get(TOLERANCE, "").strip()
    number, _, source = text.partition(" ")
    try:
        tolerance = float(number) if text else DEFAULT_TOLERANCE
        if not 0 <= tolerance < 1:
            raise ValueError
    except ValueError:
        raise SensorError(f"{TOLERANCE}={text}: expected a part of 1 and its source, as `0.01 data sheet`") from None
    return Parameter(1.0, 1 - tolerance, 1 + tolerance, "J/J", (source.strip() or f"${TOLERANCE}") if text else ASSUMED)


def _reading(name: str, text: str, unit: str = "") -> float:
    """Return the watts or joules in a text, whichever the variable `name` is of. Raises SensorError."""
    # here, since the import takes time, also in meters without such a source
    from greenllm.meter.sensors.reading import KEY, reading
    from greenllm.meter.units import ReadingError

    try:
        return reading(text, QUANTITIES[name], os.environ.get(KEY, "").strip(), unit)
    except ReadingError as error:
        raise SensorError(str(error)) from None


def _unit_of(path: Path) -> str:
    """Return the unit of a file of sysfs, as the kernel defines it; of any other file the unit in its name, if any."""
    from greenllm.meter.units import unit_in

    if not any(path.absolute().is_relative_to(root) for root in (sysfs(), "/sys")):
        return unit_in(path.name)
    return next((unit for names, unit in KERNEL_UNITS.items() if re.fullmatch(names, path.name)), "")


def read_file(name: str, path: Path) -> tuple[float, float]:
    """Return when (CLOCK_MONOTONIC, s) a file was written, and the watts or joules in it.

    `name` is the variable that names the file, for messages. Raises SensorError where the file cannot be read or was
    not written for SILENT_S.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not block the meter
        try:
            content, status = os.read(descriptor, LONGEST_TEXT), os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SensorError(f"{name}: {path}: {os.strerror(error.errno or 0)}") from None
    age_s = 0.0
    # Files of sysfs and procfs are generated on reading: their size is not their content's, and they have no time.
    if stat.S_ISREG(status.st_mode) and status.st_size == len(content):
        age_s = max(0.0, time.time() - status.st_mtime)
        if age_s > SILENT_S:
            raise SensorError(f"{name}: {path}: not written for {age_s:.0f} s; is what writes it still running?")
    try:
        return time.monotonic() - age_s, _reading(name, content.decode(errors="replace"), _unit_of(path))
    except SensorError as error:
        raise SensorError(f"{name}: {path}: {error}") from None


class Integral:
    """The energy in joules since the first reading, from readings of a counter that may wrap, or of a power.

    If the energy used is unknown (the counter was reset, the power was not reported for SILENT_S), the integral falls
    by FALL_J. It never falls otherwise.
    """

    def __init__(self, wrap_J: float | None = None) -> None:
        """`wrap_J`: the joules at which the counter starts again at zero; None: a counter that falls was reset."""
        self._counter = _counter(wrap_J, COMMAND_LIMIT_S + POLL_S)
        self._energy_J = 0.0
        self._last: tuple[float, float] | None = None
        self._returned_J = 0.0

    def joules(self, when_s: float, count_J: float) -> float:
        """Add the counter as it was at a time, and return the energy so far."""
        then_s, before_J = self._last or (when_s, count_J)
        self._last = when_s, count_J
        try:
            self._energy_J += growth(before_J, count_J, when_s - then_s, self._counter)
        except UnknownGrowthError:
            self._energy_J -= FALL_J
        return self._energy_J

    def watts(self, when_s: float, power_W: float, now_s: float) -> float:
        """Add the power as it was at a time, and return the energy up to now.

        Between readings the trapezoidal rule is applied, unless SILENT_S passed; after the last one its power. If the
        next reading corrects that downwards, the energy stays the same until the truth has caught up.
        """
        then_s, before_W = self._last or (when_s, power_W)
        self._last = when_s, power_W
        if when_s - then_s > SILENT_S:
            self._energy_J = self._returned_J = self._returned_J - FALL_J
        else:
            self._energy_J += (power_W + before_W) / 2 * (when_s - then_s)
        self._returned_J = max(self._returned_J, self._energy_J + power_W * (now_s - when_s))
        return self._returned_J


class CommandReader:
    """Has a separate process run a command, and returns its last output."""

    def __init__(self, name: str, command: str) -> None:
        """Start the process and ask it for a first reading; `name` is the variable, for messages."""
        import subprocess  # here, since its import takes time, also in meters without such a command

        self._source = f"{name}=!{command}"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "greenllm.meter.sensors.external", name, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # signals of the terminal to the job's group are not for it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._ask, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._answers, False)
        helpers.add(self._process.pid)
        self._answer: dict[str, Any] = {}
        os.write(self._ask, b"?")

    def latest(self) -> tuple[float, float]:
        """Return when (CLOCK_MONOTONIC, s) the last reading was taken and the number, and ask for the next.

        Never waits. Raises SensorError where there is none yet or the last run failed.
        """
        try:
            # The reader is asked one thing at a time, and a line is shorter than PIPE_BUF: it comes whole.
            line = os.read(self._answers, select.PIPE_BUF)
            self._answer = json.loads(line) if line else {"reason": "the process that runs it was ended"}
            os.write(self._ask, b"?")
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._answer = {"reason": "the process that runs it was ended"}
        if not self._answer:
            raise NoAnswerYetError(f"{self._source}: no answer yet")
        if "reason" in self._answer:
            raise SensorError(f"{self._source}: {self._answer['reason']}")
        when_s, number = self._answer["when_s"], self._answer["number"]
        if time.monotonic() - when_s > SILENT_S:
            raise SensorError(f"{self._source}: no answer for {SILENT_S:.0f} s")
        return when_s, number

    def close(self) -> None:
        """End the process, and with it whatever the command left running."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()
        helpers.discard(self._process.pid)


def serve(name: str, command: str) -> None:
    """Act as the reader: run the command of the variable `name` once for each byte on stdin, until that ends."""
    for ending in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: None)  # not SIG_IGN, which the command would inherit
    become_subreaper()
    while os.read(0, 1):
        began_s = time.monotonic()
        try:
            number = _reading(name, _output_of(command, began_s + COMMAND_LIMIT_S))
            answer: dict[str, Any] = {"when_s": (began_s + time.monotonic()) / 2, "number": number}
        except SensorError as error:
            answer = {"reason": str(error)}
        finally:
            _end_descendants()
        os.write(1, json.dumps(answer).encode() + b"\n")


def _output_of(command: str, until_s: float) -> str:
    """Run a command and return its output. Raises SensorError if it fails or runs too long; ends with stdin."""
    import subprocess

    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"LC_ALL": "C"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    texts = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    output, errors = texts
    unread = set(texts)
    while unread:
        ready, _, _ = select.select([0, *unread], [], [], max(0.0, until_s - time.monotonic()))
        if not ready:
            raise SensorError(f"has not ended after {COMMAND_LIMIT_S:.0f} s")
        if 0 in ready:
            raise SystemExit
        for descriptor in ready:
            part = os.read(descriptor, LONGEST_TEXT)
            if not part:
                unread.discard(descriptor)
            texts[descriptor] = (texts[descriptor] + part)[:LONGEST_TEXT]
    try:
        status = process.wait(max(0.0, until_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise SensorError(f"has not ended after {COMMAND_LIMIT_S:.0f} s") from None
    if status:
        said = texts[errors].decode(errors="replace").strip() or "no message"
        raise SensorError(f"exit status {status}: {said.splitlines()[-1][:200]}")
    return texts[output].decode(errors="replace")


def _end_descendants() -> None:
    """End processes that the command left running: as a subreaper this process also has the orphans."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in children_of(os.getpid()):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    serve(*sys.argv[1:])
