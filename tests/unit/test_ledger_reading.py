"""Clean ledgers are parsed all at once, with exactly the result of reading them line by line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hardware.ledgers import RAPL, Host, attempt, start_record, write_ledger
from hypothesis import example, given, settings
from hypothesis import strategies as st
from narrowing import known

from greenllm.attribution import attribute, read_attempts
from greenllm.attribution.sample_columns import parse_columns
from greenllm.estimate import Parameter
from greenllm.ledger.file import LedgerWriter, parse_ledger

START = start_record(Host(), "one")
WIDTH = len(START["columns"])
ENDED = {"record": "end", "status": "succeeded"}

READINGS = st.one_of(
    st.none(),
    st.integers(0, 2**64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 2e9).map(lambda x: round(x, 6)),
)


@st.composite
def ledgers(draw):
    """A ledger as the meter writes it, with or without an end."""
    rows = draw(st.lists(st.lists(READINGS, min_size=WIDTH, max_size=WIDTH), max_size=6))
    records = [START, *rows, *draw(st.sampled_from([[], [ENDED]]))]
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


# Damage by a disk, a kill or an editor, and text that readers of CSV accept as numbers but JSON refuses.
STRAY = ["[", "]", "[]", ",", ",,", "\n", "\r", " ", '"', ".", "-", "-0", "+", "0", "0x1", "e", "1e999", "9" * 400, "#"]
STRAY += ["]\n[", "[1,2]\n", "{}", "null", "true", "nan", "NaN", "inf", "Infinity"]
FRAGMENTS = st.one_of(st.binary(max_size=3), st.sampled_from(STRAY).map(str.encode))


@st.composite
def damaged(draw):
    """A ledger with bytes overwritten, inserted or removed, and possibly without its end."""
    content = draw(ledgers())
    samples_at = content.index(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        # mostly among the samples and at the end, where the two ways of reading differ
        at = draw(st.one_of(st.integers(min(samples_at, len(content)), len(content)), st.integers(0, len(content))))
        content = content[:at] + draw(FRAGMENTS) + content[at + draw(st.integers(0, 3)) :]
    return content[: draw(st.one_of(st.just(len(content)), st.integers(samples_at, max(samples_at, len(content)))))]


def with_sample(sample: bytes) -> bytes:
    good = b"[" + b",".join([b"1.5"] * WIDTH) + b"]\n"
    return json.dumps(START).encode() + b"\n" + good + sample + good


def row(value: bytes) -> bytes:
    return b"[" + b",".join([value] + [b"1"] * (WIDTH - 1)) + b"]\n"


def assert_read_as_line_by_line(content: bytes) -> None:
    ledger, columns = parse_columns(Path("x"), content)
    careful = parse_ledger(Path("x"), content)
    try:
        table = np.array(careful.samples, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        careful.drop_damaged_samples()
        table = np.array(careful.samples, dtype=np.float64)
    assert (ledger.start, ledger.end) == (careful.start, careful.end)
    assert ledger.corrupt_lines == careful.corrupt_lines
    if ledger.columns:
        assert np.stack(columns, axis=1).tobytes() == table.reshape(-1, len(ledger.columns)).tobytes()
    else:
        assert columns == []


@settings(max_examples=150, deadline=None)
@given(ledgers())
def test_a_clean_ledger_is_read_to_the_bit(content):
    assert parse_columns(Path("x"), content)[0].corrupt_lines == []
    assert_read_as_line_by_line(content)


@settings(max_examples=500, deadline=None)
@given(damaged())
@example(with_sample(row(b"00.5")))
@example(with_sample(row(b".5")))
@example(with_sample(row(b"5.")))
@example(with_sample(row(b"-0")))
@example(with_sample(row(b"+1")))
@example(with_sample(row(b"inf")))
@example(with_sample(row(b"NaN")))
@example(with_sample(row(b"")))
@example(with_sample(row(b"1e999")))
@example(with_sample(row(b"1e-999")))
@example(with_sample(row(b"9" * 400)))
@example(with_sample(row(b'"1"')))
@example(with_sample(b"[1,2]\n"))
@example(with_sample(b"[1,2[" + row(b"1")[1:]))
@example(with_sample(b"\n"))
@example(with_sample(row(b"1")[:-1] + b"\r\n"))
@example(with_sample(b"")[:-4])
@example(with_sample(b"") + b'{"record":"end","stat')
def test_a_damaged_ledger_is_read_as_line_by_line(content):
    assert_read_as_line_by_line(content)


def test_a_clean_ledger_with_a_torn_last_line_names_it(tmp_path):
    path = tmp_path / "node" / "one.jsonl"
    writer = LedgerWriter(path)
    writer.write(START)
    for second in range(3):
        writer.write([float(second), 1e9 + second, 0.0, 0.0, None, float(second), second * 10**7])
    writer.close()
    path.write_bytes(path.read_bytes() + b"[3.0,10000")
    (one,), (trouble,) = read_attempts(tmp_path)
    assert trouble == f"{path}: 1 damaged line(s) left out (line 5)"
    assert one.times.tolist() == [0, 1, 2]
    assert one.columns["cpu/package-0.raw"].tolist() == [0, 1e7, 2e7]
    assert np.isnan(one.columns["cpu_s"]).all()


def test_a_number_beyond_all_bounds_is_a_damaged_sample_and_not_the_end_of_the_study(tmp_path):
    path = tmp_path / "node" / "one.jsonl"
    path.parent.mkdir()
    path.write_bytes(with_sample(row(b"9" * 400)))
    (one,), (trouble,) = read_attempts(tmp_path)
    assert "1 damaged line(s) left out" in trouble
    assert one.corrupt_lines == 1
    assert len(one.columns["cpu_s"]) == 2


def test_the_order_of_the_ledgers_is_that_of_their_names_whichever_was_read_first(tmp_path):
    for number in range(20):
        path = tmp_path / f"node-{number % 3}" / f"job-{number:02}.jsonl"
        path.parent.mkdir(exist_ok=True)
        lines = [row(str(second).encode()) for second in range(1 + 500 * (number % 2))]
        path.write_bytes(json.dumps(START | {"id": path.stem}).encode() + b"\n" + b"".join(lines))
    attempts, troubles = read_attempts(tmp_path)
    assert troubles == []
    assert [a.path for a in attempts] == sorted(a.path for a in attempts)
    assert len(attempts) == 20
    assert attribute(tmp_path).troubles == []


def write(folder: Path, start: object, *lines: object, name: str = "one") -> Path:
    path = folder / "node" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in (start, *lines)))
    return path


SAMPLES = [[1.0] * WIDTH, [2.0] * WIDTH]


@pytest.mark.parametrize("missing", ["monotonic_s", "wall_s", "cpu_s", "cpu/package-0.raw"])
def test_a_ledger_without_a_column_that_it_needs_is_named_and_not_counted(tmp_path, missing):
    path = write(tmp_path, START | {"columns": [name for name in START["columns"] if name != missing]})
    assert read_attempts(tmp_path) == ([], [f"{path}: start record's columns lack {missing}: not counted"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"schema": "greenllm/ledger/2"}, "its schema is 'greenllm/ledger/2'; expected greenllm/ledger/1"),
        ({"cpus": "four"}, "start record's cpus: "),
        ({"cpus": 0}, "start record's cpus: "),
        ({"wall_s": "noon"}, "start record's wall_s: "),
        ({"wall_s": 1e300}, "start record's wall_s: "),
        ({"monotonic_s": [1]}, "start record's monotonic_s: "),
        ({"interval_s": None}, "start record's interval_s: "),
        ({"job": "train"}, "start record's job: "),
        ({"job": {"rule": ["train"]}}, "start record's job.rule: "),
        ({"parent": "another"}, "start record's id is not that of its parent another"),
        ({"gpus": [{"index": 0}]}, "start record's gpus.0.uuid: "),
        ({"inputs": ["data"]}, "start record's inputs: "),
        ({"sensors": [RAPL | {"terms": None}]}, "start record's sensors.0.terms: "),
        ({"sensors": [RAPL | {"terms": [RAPL["terms"][0] | {"of": "heat"}]}]}, "start record's sensors.0.terms.0.of: "),
        ({"sensors": [RAPL | {"counter": None}]}, "start record's sensor cpu package-0 counts, but has no counter"),
        ({"parameters": {}}, "start record's parameters lack rapl.gain, which sensor cpu package-0 names"),
        ({"parameters": {"rapl.gain": {"value": "one"}}}, "start record's parameters.rapl.gain.value: "),
    ],
)
@pytest.mark.parametrize("courses", [True, False])
def test_a_damaged_start_record_is_named_not_counted_and_no_harm_to_others(tmp_path, damage, said, courses):
    path = write(tmp_path, START | {"id": "damaged"} | damage, *SAMPLES, ENDED, name="damaged")
    write(tmp_path, START, *SAMPLES, ENDED)
    result = attribute(tmp_path, courses=courses)
    (trouble,) = result.troubles
    assert trouble.startswith(f"{path}: {said}")
    assert trouble.endswith(": not counted")
    assert [job.id for job in result.jobs] == ["one"]


@pytest.mark.parametrize("damage", [{"status": 7}, {"monotonic_s": "late"}, {"outputs": ["model"]}, {"cpu_s": {}}])
def test_a_damaged_end_record_is_named_and_what_was_sampled_counts(tmp_path, damage):
    path = write(tmp_path, START, *SAMPLES, ENDED | damage)
    result = attribute(tmp_path)
    assert result.troubles == [f"{path}: 1 damaged line(s) left out"]
    assert result.job("one").status == "lost"
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize("opening", ["[", '{"record":'])
def test_brackets_without_end_are_a_damaged_line(tmp_path, opening):
    path = write(tmp_path, START, *SAMPLES)
    closing = "]" if opening == "[" else "}"
    with path.open("a") as file:
        file.write(opening * 100_000 + "1" + closing * 100_000 + "\n" + json.dumps(ENDED) + "\n")
    (one,), (trouble,) = read_attempts(tmp_path)
    assert trouble == f"{path}: 1 damaged line(s) left out (line 4)"
    assert (one.status, len(one.times)) == ("succeeded", 2)


@pytest.mark.parametrize("courses", [True, False])
def test_of_a_folder_beside_its_copy_each_attempt_counts_once_and_the_longest_does(tmp_path, courses):
    host = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": lambda t: 1e7 * t})
    whole = write_ledger(tmp_path, attempt(host, "one", range(11), lambda t: 1.0 * t))
    copy = tmp_path / "backup" / "one.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:6]))
    result = attribute(tmp_path, courses=courses)
    (job,) = result.jobs
    assert known(job.energy).value == pytest.approx(100)
    assert result.troubles == [f"{copy}: the same attempt as in {whole}, which is no shorter: not counted"]


def attributed(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "greenllm", "attribute", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_folder_without_ledgers_is_told_in_a_line_that_names_the_right_one(tmp_path):
    ledgers = tmp_path / "results" / "ledger"
    ledgers.mkdir(parents=True)
    empty = attributed(ledgers)
    assert (empty.returncode, empty.stdout, empty.stderr.count("\n")) == (2, "", 1)
    assert f"{ledgers}: no ledgers in it" in empty.stderr
    assert attribute(ledgers).jobs == []
    write(ledgers, START, *SAMPLES, ENDED)
    run_file = ledgers.parent / "runs" / "run.jsonl"  # has a ledger's place in the results folder, and is none
    run_file.parent.mkdir()
    run_file.write_text("{}\n")
    for folder in (ledgers / "node", ledgers.parent):
        wrong = attributed(folder)
        assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
        assert wrong.stderr.rstrip().endswith(f": name {ledgers}") or f"around it: {ledgers}" in wrong.stderr
    assert attributed(ledgers).returncode == 0


def test_totals_are_the_same_where_the_courses_are_not_kept(tmp_path):
    """Hosts are then read in separate processes, and their samples are not kept."""
    for boot in ("boot-a", "boot-b", "boot-c"):
        host = Host(cpus=4, boot_id=boot, busy_s=lambda t: 2.0 * t, counters={"package-0": lambda t: 1e7 * t})
        outer = attempt(host, f"{boot}-p", [0, 3, 9], lambda t: 1.0 * t, rule="train")
        inner = attempt(host, f"{boot}-p.c", [2, 5, 7], lambda t: 0.5 * t, parent=outer.id, status="failed")
        alone = attempt(host, f"{boot}-q", [20, 21, 24], lambda t: 0.5 * t, status="lost")
        if boot == "boot-b":  # another calibration of the same name
            gain = Parameter(2.0, 1.9, 2.1, "J/J", "another")
            for one in (outer, inner, alone):
                one.start.parameters = one.start.parameters | {"rapl.gain": gain}
        for one in (outer, inner, alone):
            path = write_ledger(tmp_path, one)
    path.write_bytes(b"torn\n" + path.read_bytes() + b"[1,2")
    whole = attribute(tmp_path)
    assert len(whole.troubles) == 1
    assert attribute(tmp_path, courses=False).to_json() == whole.to_json()
