"""A number outside the range of a command's option is refused in one line."""

import pytest

from greenllm.cli import main


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["probe", "--seconds", "-1"], "--seconds: '-1': expected seconds between 0.05 and 60"),
        (["probe", "--seconds", "1000"], "--seconds: '1000': expected seconds between 0.05 and 60"),
        (["watch", ".", "--every", "nan"], "--every: 'nan': expected seconds between 0.1 and 3600"),
        (["load", "--timeout", "0"], "--timeout: '0': expected seconds between 0.001 and 86400"),
        (["load", "--rate", "-1"], "--rate: '-1': expected arrivals per second between 1e-06 and 1e+06"),
        (["load", "--rate", "inf"], "--rate: 'inf': expected arrivals per second between"),
        (["doctor", "--nodes", "0"], "--nodes: '0': expected a whole number, 1 or more"),
        (["doctor", "--nodes", "two"], "--nodes: 'two': expected a whole number, 1 or more"),
        (["config", "check", "--gpus", "-1"], "--gpus: '-1': expected a whole number, 0 or more"),
        *(
            ([command, "--seed", seed], f"--seed: '{seed}': expected a whole number between 0 and 4294967295")
            for command in ("tune", "train", "evaluate", "measure", "load", "footprint")
            for seed in ("-1", f"{10**20}")
        ),
        (["tune", "--seed", "one"], "--seed: 'one': expected a whole number between 0 and 4294967295"),
    ],
)
def test_a_number_outside_the_range_is_refused(
    command: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()  # the usage is before it
    assert expected in line
