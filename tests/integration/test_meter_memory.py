"""The energy of memory under the meter: against a simulated truth, and modelled by what the firmware lists."""

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hardware.simulated import PowercapTree, clean_environment, proc_tree
from metering import meter, start
from narrowing import known

from greenllm.attribution import attribute
from greenllm.meter.sensors import dram_model
from greenllm.meter.sensors.memory_modules import modules_of

SIZE_B = 16 * 2**30
DRAM_W = 40.0
STEADY = """
import json, sys, time
held = bytearray(int(sys.argv[1]))
held[::4096] = bytes([1]) * len(held[::4096])
began_s = time.monotonic()
time.sleep(float(sys.argv[3]))
open(sys.argv[2], "w").write(json.dumps([began_s, time.monotonic()]))
"""


def host(tmp_path: Path) -> tuple[PowercapTree, dict[str, str]]:
    """A host of 16 GiB, 4 of them in use, whose package and memory are zones with constant powers."""
    proc = proc_tree(tmp_path / "proc")
    (proc / "meminfo").write_text(f"MemTotal: {SIZE_B // 1024} kB\nMemFree: 1 kB\nMemAvailable: {12 * 2**20} kB\n")
    began_s = time.monotonic() - 1000
    zones = {
        "intel-rapl:0": ("package-0", lambda t: 60 * (t - began_s)),
        "intel-rapl:0:0": ("dram", lambda t: DRAM_W * (t - began_s)),
    }
    environment = clean_environment(
        tmp_path,
        GREENLLM_SYSFS=str(tmp_path / "sys"),
        GREENLLM_PROCFS=str(proc),
        GREENLLM_METER_INTERVAL_S="0.1",
    )
    return PowercapTree(tmp_path / "sys", zones), environment


def test_each_job_gets_the_energy_of_the_memory_it_is_known_to_use_or_reserve(tmp_path):
    tree, env = host(tmp_path)
    jobs = {"uses": (600_000_000, 100), "reserves": (50_000_000, 4000)}
    with tree.running():
        running = [
            start(
                "--rule", name, "--memory", reserved_MB, "--",
                "python3", "-c", STEADY, used_B, tmp_path / f"{name}.json", 3, env=env,
            )
            for name, (used_B, reserved_MB) in jobs.items()
        ]  # fmt: skip
        for one in running:
            assert one.wait(60) == 0
    result = attribute(tmp_path / "ledger")
    assert result.troubles == []
    for job in result.jobs:
        name = known(job.rule)
        began_s, ended_s = json.loads((tmp_path / f"{name}.json").read_text())
        began_s += 0.3
        window = known(result.energy_between(job.id, began_s, ended_s, ("dram",)))
        used_B, reserved_MB = jobs[name]
        # the interpreter itself takes some 6 MB
        truth_B = max(used_B + 6e6, reserved_MB * 1e6)
        assert window.value == pytest.approx(DRAM_W * (ended_s - began_s) * truth_B / SIZE_B, rel=0.02)
    for row in result.device_totals(result.hosts[0]):
        assert row.counted_J == pytest.approx(row.jobs_J + row.other_J + row.idle_J)


def test_the_log_has_the_same_share_and_the_ledger_what_it_follows_from(tmp_path):
    tree, env = host(tmp_path)
    with tree.running():
        done = meter("--memory", 8000, "--out", tmp_path / "log.json", "--", "sleep", "1", env=env)
    assert done.returncode == 0, done.stderr
    parts = {c["component"]: c for c in json.loads((tmp_path / "log.json").read_text())["components"]}
    assert parts["dram"]["share"] == pytest.approx(8e9 / SIZE_B, rel=1e-6)
    (path,) = (tmp_path / "ledger").glob("*/*.jsonl")
    start_record, *samples, _ = [json.loads(line) for line in path.read_text().splitlines()]
    assert (start_record["memory_B"], start_record["reserved_memory_B"]) == (SIZE_B, 8e9)
    host_column = start_record["columns"].index("host.memory_B")
    assert {sample[host_column] for sample in samples} == {4 * 2**30}
    (job,) = attribute(tmp_path / "ledger").jobs
    (final,) = (c for c in job.components if c.component == "dram")
    assert final.share == pytest.approx(parts["dram"]["share"], rel=1e-6)


def test_a_negative_reservation_is_refused(tmp_path):
    done = meter("--memory", -1, "--", "true", env=clean_environment(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--memory -1: expected a number of at least 0" in done.stderr


def module(kind: int, size: int, extended_MiB: int = 0) -> bytes:
    """A structure of type 17 (DSP0134) with two texts."""
    body = bytearray(0x22)
    body[0:4] = struct.pack("<BBH", 17, len(body), 1)
    struct.pack_into("<H", body, 0x0C, size)
    body[0x12] = kind
    struct.pack_into("<I", body, 0x1C, extended_MiB)
    return bytes(body) + b"DIMM 0\0Bank 0\0\0"


OTHER = struct.pack("<BBH", 16, 4, 0) + b"\0\0"
END = struct.pack("<BBH", 127, 4, 9) + b"\0\0"
DDR3, DDR4, DDR5, RAM = 0x18, 0x1A, 0x22, 0x07


@pytest.mark.parametrize(
    ("table", "count", "unit", "watts"),
    [
        ([module(DDR4, 8192)] * 2 + [module(DDR4, 0)], 2, "W/module", (1.7, 0.375, 5.0)),
        ([OTHER] + [module(DDR3, 4096)] * 6, 6, "W/module", (3.1, 0.83, 5.33)),
        ([module(DDR4, 0x7FFF, 65536)] * 4, 4, "W/module", (1.7, 0.375, 10.0)),
        ([module(DDR5, 0xFFFF)], 1, "W/module", (1.7, 0.375, 10.0)),
        ([module(RAM, 16384)], 16, "W/GiB", None),
        ([module(DDR4, 8192), module(RAM, 8192)], 16, "W/GiB", None),
        ([module(DDR4, 8192)[:20]], 16, "W/GiB", None),
        (None, 16, "W/GiB", None),
    ],
)
def test_modelled_memory_follows_the_modules_that_the_firmware_lists(
    tmp_path: Path, monkeypatch: Any, table: list[bytes] | None, count: float, unit: str, watts: Any
) -> None:
    monkeypatch.setenv("GREENLLM_PROCFS", str(proc_tree(tmp_path / "proc")))
    monkeypatch.setenv("GREENLLM_SYSFS", str(tmp_path))
    if table is not None:
        (tmp_path / "firmware/dmi/tables").mkdir(parents=True)
        (tmp_path / "firmware/dmi/tables/DMI").write_bytes(b"".join(table) + (END if len(table[0]) > 20 else b""))
    (sensor,) = dram_model.find()
    ((_, parameter),) = sensor.parameters.items()
    assert (sensor.terms[0].factor, parameter.unit) == (count, unit)
    assert parameter.low < parameter.value < parameter.high
    if watts is not None:
        assert (parameter.value, parameter.low, parameter.high) == watts


def test_a_modules_size_is_read_in_each_of_its_forms() -> None:
    table = module(DDR4, 8192) + module(DDR4, 0x8000 | 2048) + module(DDR4, 0x7FFF, 131072) + module(DDR4, 0xFFFF) + END
    assert [found.size_MiB for found in modules_of(table)] == [8192, 2, 131072, None]
