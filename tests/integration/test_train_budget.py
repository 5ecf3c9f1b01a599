"""`greenllm train` with limits on its energy: under a real meter, and with ledgers of known energy."""

import json
import re
import subprocess

import pytest
from hardware.ledgers import CPU_MODEL, RAPL, Host, samples, start_record
from metering import GREENLLM
from narrowing import known
from prepared_data import train_command

from greenllm.attribution import attribute
from greenllm.cli import main

INTERVAL_s = 0.1


def metered(env, folder, command):
    env = env | {"GREENLLM_METER_INTERVAL_S": str(INTERVAL_s)}
    meter = [*GREENLLM, "meter", "--ledger", str(folder / "ledger"), "--threads", "1", "--"]
    return subprocess.Popen([*meter, *GREENLLM, *command], env=env, stderr=subprocess.PIPE, text=True)


def report(folder):
    return json.loads((folder / "model" / "training.json").read_text())


def jobs_in(folder):
    """Return the energy of each attempt in J, in chronological order."""
    return [known(job.energy_with_children).value for job in attribute(folder / "ledger").jobs]


def test_a_budget_is_kept_over_all_attempts(data, env, tmp_path):
    endless = {"epochs": 2000, "evaluations": 5000, "schedule": "constant"}
    # The energy of loading depends on the machine, so it is measured: this attempt is refused.
    refused = metered(env, tmp_path / "refused", train_command(data, tmp_path / "refused", budget_J=0.01))
    _, said = refused.communicate()
    assert refused.returncode == 2
    loading_J = float(known(re.search(r"budget_J: 0.01 J, but after the first step (\S+) J were used", said))[1])

    command = train_command(data, tmp_path, budget_J=4 * loading_J, **endless)
    killed = metered(env, tmp_path, command)
    assert any("written" in line for line in killed.stderr)
    killed.terminate()
    killed.communicate()
    (before_J,) = jobs_in(tmp_path)

    resumed = metered(env, tmp_path, command)
    _, said = resumed.communicate()
    assert resumed.returncode == 0, said
    told = report(tmp_path)
    assert told["resumed_from_step"]
    assert told["stopped_early"]
    used_J, budget_J = map(float, known(re.fullmatch(r"budget: (\S+) J used of (\S+) J", told["stop_reason"])).groups())
    assert budget_J == pytest.approx(4 * loading_J, rel=1e-3)
    rounding_J = 1e-3 * used_J  # the reason has four digits
    assert budget_J - rounding_J <= used_J <= 1.5 * budget_J
    # The first attempt's energy counts: the second alone did not use up the budget.
    assert used_J > before_J
    assert used_J <= sum(jobs_in(tmp_path)) + 0.1
    energies = [point["energy_J"]["value"] for point in told["energy_J"]]
    assert energies == sorted(energies)
    # The loss of the last step is computed, and the energy read again, after the budget was found to be used up.
    assert all(energy_J <= used_J + rounding_J for energy_J in energies[:-1])
    assert energies[-1] <= 1.5 * budget_J
    assert [(point["step"], point["validation_loss"]) for point in told["energy_J"]] == [
        (point["step"], point["loss"]) for point in told["validation_loss"]
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_training_ends_if_a_kilojoule_improves_the_loss_too_little(data, env, tmp_path, processes):
    settings = {"least_gain_per_kJ": 1e9, "evaluations": 100, "epochs": 200, "processes": processes}
    command = [*train_command(data, tmp_path, **settings), "--threads", str(processes)]
    training = metered(env, tmp_path, command)
    _, said = training.communicate()
    assert training.returncode == 0, said
    told = report(tmp_path)
    assert told["world_size"] == processes
    assert told["stopped_early"]
    last, *earlier = reversed(told["energy_J"])
    before = next(point for point in earlier if point["energy_J"]["value"] < last["energy_J"]["value"])
    more_kJ = (last["energy_J"]["value"] - before["energy_J"]["value"]) / 1000
    gain = (before["validation_loss"] - last["validation_loss"]) / more_kJ
    assert told["stop_reason"] == f"gain: {gain:.3g} nats per token and kJ, less than 1e+09"
    assert told["steps"] == last["step"]


def refusal(capfd, command):
    assert main(command) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    return line


def ledger_of(monkeypatch, folder, sensors, job="job"):
    """Write the ledger of a job that has used 100 J, where its sensors tell, and be within that job."""
    host = Host(sensors=sensors, counters={"package-0": lambda t: 1e6 * t}, cpus=1)
    path = folder / "ledger" / "node" / f"{job}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = samples(host, range(101), lambda t: t).tolist()
    path.write_text("".join(json.dumps(row) + "\n" for row in [start_record(host, job), *rows]))
    monkeypatch.setenv("GREENLLM_LEDGER", str(folder / "ledger"))
    monkeypatch.setenv("GREENLLM_METER_ID", job)


def test_a_job_reads_the_energy_that_attribution_computes(data, monkeypatch, tmp_path, capfd):
    ledger_of(monkeypatch, tmp_path, [RAPL])
    few = refusal(capfd, train_command(data, tmp_path, budget_J=99))
    assert "train.budget_J: 99 J, but after the first step 100 J were used, loading and earlier attempts" in few
    assert not (tmp_path / "model").exists()
    assert main(train_command(data, tmp_path, budget_J=101, epochs=0.1)) == 0
    told = report(tmp_path)
    assert (told["stopped_early"], told["stop_reason"]) == (False, None)
    assert told["energy_J"][0]["energy_J"] == {"value": 100, "low": 95, "high": 105}


def test_a_budget_that_cannot_be_kept_is_refused(data, monkeypatch, tmp_path, capfd):
    monkeypatch.delenv("GREENLLM_METER_ID", raising=False)
    for setting in ({"budget_J": 1000}, {"least_gain_per_kJ": 1}):
        line = refusal(capfd, train_command(data, tmp_path, **setting))
        assert f"train.{next(iter(setting))}: the energy of this job is unknown: no meter is around it" in line
    assert "set train.evaluations to 2" in refusal(
        capfd, train_command(data, tmp_path, least_gain_per_kJ=1, evaluations=1)
    )
    unread = CPU_MODEL | {"terms": [], "reason": "the processor is not known"}
    ledger_of(monkeypatch, tmp_path / "unread", [unread])
    line = refusal(capfd, train_command(data, tmp_path / "unread", budget_J=1000))
    assert "the energy of this job is unknown: cpu cpu: the processor is not known" in line
    assert main(train_command(data, tmp_path / "unread", epochs=0.1)) == 0  # which needs no energy
    assert report(tmp_path / "unread")["energy_J"] is None


def test_an_earlier_attempt_whose_energy_is_lost(data, monkeypatch, tmp_path, capfd):
    ledger_of(monkeypatch, tmp_path, [RAPL], job="first")
    refusal(capfd, train_command(data, tmp_path, budget_J=99))
    (tmp_path / "ledger" / "node" / "first.jsonl").unlink()
    ledger_of(monkeypatch, tmp_path, [RAPL], job="second")
    line = refusal(capfd, train_command(data, tmp_path, budget_J=99))
    assert "an earlier attempt at this job has no ledger in" in line
    assert line.endswith("ledger: first")
