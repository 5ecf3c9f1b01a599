"""Ledgers are read all at once where they are clean: with the very result of reading them line by line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hardware.ledgers import Host, attempt, start_record, write_ledger
from hypothesis import example, given, settings
from hypothesis import strategies as st

from greenllm.attribution import attribute, read_attempts
from greenllm.attribution.samples import parse_columns
from greenllm.meter.ledger import LedgerWriter, parse_ledger

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


# What a disk, a kill or an editor may leave, and what JSON refuses but readers of CSV take for numbers.
STRAY = ["[", "]", "[]", ",", ",,", "\n", "\r", " ", '"', ".", "-", "-0", "+", "0", "0x1", "e", "1e999", "9" * 400, "#"]
STRAY += ["]\n[", "[1,2]\n", "{}", "null", "true", "nan", "NaN", "inf", "Infinity"]
FRAGMENTS = st.one_of(st.binary(max_size=3), st.sampled_from(STRAY).map(str.encode))


@st.composite
def damaged(draw):
    """A ledger in which places were overwritten, inserted or cut out, and of which the end may be missing."""
    content = draw(ledgers())
    samples_at = content.index(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        # mostly among the samples and at the end: that is where the two ways of reading part
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


@pytest.mark.parametrize("missing", ["monotonic_s", "wall_s", "cpu_s"])
def test_a_ledger_without_a_column_that_all_have_is_named_and_not_counted(tmp_path, missing):
    path = tmp_path / "node" / "one.jsonl"
    path.parent.mkdir()
    columns = [name for name in START["columns"] if name != missing]
    path.write_text(json.dumps(START | {"columns": columns}) + "\n")
    assert read_attempts(tmp_path) == ([], [f"{path}: start record's columns lack {missing}: not counted"])


def test_totals_are_the_same_where_the_courses_are_not_kept(tmp_path):
    """Hosts are then read in processes of their own, and their samples forgotten."""
    for boot in ("boot-a", "boot-b", "boot-c"):
        host = Host(cpus=4, boot_id=boot, busy_s=lambda t: 2.0 * t, counters={"package-0": lambda t: 1e7 * t})
        outer = attempt(host, f"{boot}-p", [0, 3, 9], lambda t: 1.0 * t, rule="train")
        inner = attempt(host, f"{boot}-p.c", [2, 5, 7], lambda t: 0.5 * t, parent=outer.id, status="failed")
        alone = attempt(host, f"{boot}-q", [20, 21, 24], lambda t: 0.5 * t, status="lost")
        if boot == "boot-b":  # another calibration of the same name
            gain = {"value": 2.0, "low": 1.9, "high": 2.1, "unit": "J/J", "source": "another"}
            for one in (outer, inner, alone):
                one.start["parameters"] = one.start["parameters"] | {"rapl.gain": gain}
        for one in (outer, inner, alone):
            path = write_ledger(tmp_path, one)
    path.write_bytes(b"torn\n" + path.read_bytes() + b"[1,2")
    whole = attribute(tmp_path)
    assert len(whole.troubles) == 1
    assert attribute(tmp_path, courses=False).to_json() == whole.to_json()
