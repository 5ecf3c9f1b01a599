"""A server's meter on counters that come, go and turn out to be one: what is counted is of its interval alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hardware.simulated import PowercapTree, clean_environment, proc_tree
from narrowing import known

from greenllm.meter.own_energy import EnergyGrowth, OwnEnergy


class Host:
    """A host of one processor, all of which the meter's process reserves, with two zones that a test moves."""

    def __init__(self, folder: Path, names: tuple[str, str]) -> None:
        self.counted_J = [1000.0, 1000.5]
        one, other = names
        zones = {
            "intel-rapl:0": (one, lambda now_s: self.counted_J[0]),
            "intel-rapl:1": (other, lambda now_s: self.counted_J[1]),
        }
        self.tree = PowercapTree(folder / "sys", zones)
        self.energy = OwnEnergy(threads=1, gpus=0, interval_s=60)
        self.energy.begin()

    def after(self, one_J: float, other_J: float | None) -> EnergyGrowth:
        """Return the growth after the zones counted so much; None: the zone cannot be read."""
        self.counted_J = [self.counted_J[0] + one_J, self.counted_J[1] + (other_J or 0.0)]
        self.tree.update()
        if other_J is None:
            self.tree.file("intel-rapl:1").unlink()
        return self.energy.sample()


@pytest.fixture
def names() -> tuple[str, str]:
    return "package-0", "package-1"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]) -> Iterator[Host]:
    own = {"GREENLLM_SYSFS": str(tmp_path / "sys"), "GREENLLM_PROCFS": str(proc_tree(tmp_path / "proc", cpus=1))}
    for name, value in clean_environment(tmp_path, **own).items():
        if name.startswith(("GREENLLM_", "XDG_")):
            monkeypatch.setenv(name, value)
    made = Host(tmp_path, names)
    yield made
    made.energy.close()


def test_what_a_counter_counted_while_it_could_not_be_read_is_in_no_interval(host: Host) -> None:
    first = host.after(5, None)
    assert first.components_J["cpu"] == pytest.approx(5)
    assert "package-1" in known(first.reason)
    assert host.after(5, None).components_J["cpu"] == pytest.approx(5)
    back = host.after(5, 100)
    assert back.components_J["cpu"] == back.host_J["cpu"] == pytest.approx(5)
    assert known(back.energy_J).value == pytest.approx(sum(back.components_J.values()))
    assert "package-1: could not be read at the interval's begin" in known(back.reason)
    later = host.after(5, 3)
    assert later.components_J["cpu"] == pytest.approx(8)
    assert later.reason is None


@pytest.mark.parametrize("names", [("package-0-die-0", "package-0-die-1")])
def test_a_zone_that_turns_out_to_repeat_another_takes_nothing_back(host: Host) -> None:
    assert host.after(5, 4.75).components_J["cpu"] == pytest.approx(9.75)  # they differ until both are renewed
    grown = host.after(3, 2.75)
    assert host.counted_J[0] == host.counted_J[1]
    assert grown.components_J["cpu"] == grown.host_J["cpu"] == pytest.approx(3)
