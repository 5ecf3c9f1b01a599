"""`greenllm collect` on files as people publish them: packed, in other shapes, with cells that are not text."""

import bz2
import datetime
import decimal
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from greenllm.cli import main

CSV = "prompt,completion\na,b\nc,d\n"
JSONL = '{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}\n'
ROWS = [("a", "b"), ("c", "d")]


@pytest.fixture
def collect(tmp_path, capsys):
    """Write a file and collect it; return the exit status, stderr, the rows and the card."""

    def run(name, content, task="customer-service", **settings):
        if content is not None:
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        out = tmp_path / "out"
        arguments = ["--settings", json.dumps({"source": "file", "train": name, **settings}), "--base", str(tmp_path)]
        status = main(["collect", "--task", task, *arguments, "--out", str(out)])
        said = capsys.readouterr().err
        if status:
            (line,) = said.splitlines()
            assert len(line) < 1000
            return status, line, None, None
        rows = [tuple(row.values())[1:] for row in pq.read_table(out / "train.parquet").to_pylist()]
        return status, said, rows, json.loads((out / "card.json").read_text())

    return run


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return buffer.getvalue()


def zstd(text):
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "zstd") as file:
        file.write(text.encode())
    return buffer.getvalue().to_pybytes()


def parquet(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("a.CSV", CSV, {}),
        ("a.csv", CSV.replace(",", ";"), {"separator": ";"}),
        ("a.csv", CSV.replace(",", "\t"), {"separator": "\t"}),
        ("a.csv", CSV.replace(",", "|"), {"separator": "|"}),
        ("a.tsv", CSV, {"separator": ","}),
        ("a.csv", "\ufeff" + CSV.replace(",", ";"), {"separator": ";"}),
        ("a.csv", "sep=;\r\n" + CSV.replace(",", ";"), {"separator": ";"}),
        ("a.csv", '"prompt";"completion"\n"a";"b"\n"c";"d"\n', {"separator": ";"}),
        ("a.csv", "prompt,completion,,\na,b,,\nc,d,,\n", {}),
        ("a.csv.gz", gzip.compress(CSV.encode()), {"packing": "gzip"}),
        ("a.csv", gzip.compress(CSV.encode()), {"packing": "gzip"}),
        ("a.csv.gz", CSV, {}),
        ("a.TSV.GZ", gzip.compress(CSV.replace(",", "\t").encode()), {"packing": "gzip"}),
        ("a.jsonl.gz", gzip.compress(JSONL.encode()), {"packing": "gzip"}),
        ("a.json.bz2", bz2.compress(JSONL.encode()), {"packing": "bzip2"}),
        ("a.csv.xz", lzma.compress(CSV.encode()), {"packing": "xz"}),
        ("a.csv.zst", zstd(CSV), {"packing": "zstd"}),
        ("a.csv.zip", zipped(rows_csv=CSV), {"packing": "zip"}),
        ("a.zip", zipped(folder__rows_jsonl=JSONL), {"packing": "zip"}),
        ("a.parquet.gz", gzip.compress(parquet(prompt=["a", "c"], completion=["b", "d"])), {"packing": "gzip"}),
        ("a.json", JSONL, {}),
        ("a.json", json.dumps([json.loads(line) for line in JSONL.splitlines()]), {}),
        ("a.jsonl", json.dumps([json.loads(line) for line in JSONL.splitlines()], indent=1), {}),
        ("a.json", "\ufeff\n" + json.dumps([json.loads(line) for line in JSONL.splitlines()]), {}),
        ("a.json", json.dumps({"version": 1, "data": [json.loads(line) for line in JSONL.splitlines()]}), {}),
        ("a.json", json.dumps({"rows": [json.loads(line) for line in JSONL.splitlines()]}, indent=2), {}),
        ("a.jsonl", "\ufeff" + JSONL, {}),
    ],
)
def test_a_file_is_read_as_it_is_published(collect, name, content, facts):
    status, _, rows, card = collect(name, content)
    assert (status, rows) == (0, ROWS)
    (file,) = card["files"]
    assert set(file) - {"part", "file", "sha256", "bytes", "rows"} == set(facts)
    assert facts.items() <= file.items()


def test_one_object_may_be_a_row_with_a_list_in_it(collect):
    row = {"prompt": "a", "completion": "b", "tags": ["c", "d"]}
    for indent in (None, 1):
        assert collect("a.json", json.dumps(row, indent=indent))[2] == ROWS[:1]


def test_a_separator_that_is_none_of_the_usual_ones_is_named(collect):
    status, said, _, _ = collect("a.csv", CSV.replace(",", "^"))
    assert status == 2
    assert "data.separator" in said
    assert collect("a.csv", None, separator="^")[2] == ROWS


def test_a_separator_in_a_cell_is_not_taken_for_the_files(collect):
    content = "prompt,completion\nfirst; second; third,b;c\n"
    assert collect("a.csv", content)[2] == [("first; second; third", "b;c")]


def tarred(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("rows.csv"), io.BytesIO(content.encode()))
    return buffer.getvalue()


def arrow(kind):
    buffer = io.BytesIO()
    table = pa.table({"prompt": ["a"], "completion": ["b"]})
    with kind(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
MANY = gzip.compress(("prompt,completion\n" + "".join(f"a{n * 7919 % 10007},b{n}\n" for n in range(5000))).encode())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", MANY[: len(MANY) // 2], "the gzip file is cut short or damaged"),
        ("a.csv.gz", MANY[:12], "the gzip file is cut short or damaged"),
        ("a.csv.gz", MANY[:900] + bytes(9) + MANY[909:], "the gzip file is cut short or damaged"),
        ("a.csv.zst", zstd(CSV)[:-3], "the zstd file is cut short or damaged"),
        ("a.csv.xz", lzma.compress(CSV.encode())[:-20], "the xz file is cut short or damaged"),
        ("a.zip", zipped(a_csv=CSV)[:-9], "the zip file is cut short or damaged"),
        ("a.zip", zipped(a_csv=CSV, b_csv=CSV), "an archive of 2 files (a.csv, b.csv); unpack it"),
        ("a.xlsx", zipped(xl__workbook_xml="<workbook/>"), "an Excel workbook; save it as CSV"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an Excel workbook; save it as CSV"),
        ("a.tar.gz", tarred(CSV), "a tar archive; unpack it"),
        ("a.csv.gz", gzip.compress(b""), "the file is empty"),
        ("a.json", '[{"prompt": "a", "completion": "b"}, {"pro', "expected an array of objects"),
        ("a.json", json.dumps({"train": [], "test": []}), "several lists (train, test)"),
        ("a.json", json.dumps({"prompt": ["a"], "completion": ["b"]}), "several lists (prompt, completion)"),
        ("a.jsonl", json.dumps({"messages": [{"role": "user", "content": "a"}]}), "a chat ('messages')"),
        ("a.csv", "I want my card,lost\nwhere is it,find\n", "known: I want my card, lost; "),
        ("a.csv", "x" * 79_000 + "\na\n", "is one cell with the separator ','"),
        ("a.csv", "x" * 79_000 + ",y\na,b\n", "no column 'prompt'"),
        ("a.csv", POINTER, "a pointer of Git LFS"),
        ("a.jsonl", POINTER, "a pointer of Git LFS"),
        ("a.parquet", POINTER, "a pointer of Git LFS"),
        ("a.csv", "<!DOCTYPE html>\n<html><body>prompt,completion</body></html>\n", "a web page"),
        ("a.csv", '<html lang="en, fr">\n', "a web page"),
        ("a.csv.lz4", b"\x04\x22\x4d\x18" + bytes(20), "packed by lz4; unpack it"),
        ("a.csv.br", b"\x0b\x0c\x80" + CSV.encode(), "packed by brotli; unpack it"),
        ("a.csv.Z", b"\x1f\x9d\x90" + bytes(20), "packed by compress; unpack it"),
        ("a.csv.lzma", lzma.compress(CSV.encode(), lzma.FORMAT_ALONE), "packed by lzma; unpack it"),
        ("a.ods", zipped(mimetype="", content_xml="<x/>"), "an OpenDocument file; save it as CSV"),
        ("a.docx", zipped(word__document_xml="<x/>", styles_xml="<x/>"), "a Word document; save its text"),
        ("a.arrow", arrow(pa.ipc.new_file), "an Arrow file; save it as Parquet"),
        ("a.arrows", arrow(pa.ipc.new_stream), "an Arrow stream; save it as Parquet"),
        ("a.pkl", pickle.dumps(ROWS), "a Python pickle; save its rows"),
        ("a.csv.gz", gzip.compress(gzip.compress(CSV.encode())), "packed twice, gzip within gzip; unpack it once"),
        ("a.zip", zipped(a_csv_gz=gzip.compress(CSV.encode())), "packed twice, gzip within zip; unpack it once"),
        ("a.jsonl.xz", lzma.compress(bz2.compress(JSONL.encode())), "packed twice, bzip2 within xz"),
        ("a.csv", ",".join(f"column{n}" for n in range(900)) + "\n", "and 890 more"),
        ("a.jsonl", json.dumps({"x" * 79_000: 1}), "no 'prompt'"),
    ],
)
def test_what_is_no_file_of_rows_is_reported_in_one_short_line(collect, name, content, message):
    status, said, _, _ = collect(name, content)
    assert status == 2
    assert f"error: {name}: " in said
    assert message in said


@pytest.mark.parametrize("content", [b"\x04\x22\x4d\x18" + bytes(20), pickle.dumps(ROWS), POINTER])
@pytest.mark.parametrize("format", ["csv", "jsonl", "text"])
def test_naming_a_format_does_not_make_rows_of_another_kind_of_file(collect, format, content):
    status, said, _, _ = collect("rows", content, task="language-modelling", format=format)
    assert status == 2
    assert said.startswith("greenllm collect: error: rows: ")
    assert "data." not in said


@pytest.mark.parametrize(
    "content", ["prompt~completion\na~b\n", "prompt^completion^topic\na^b^c\n", "I want my card\nwhere is it\n"]
)
def test_a_header_of_one_cell_suggests_another_separator_or_file(collect, content):
    status, said, _, _ = collect("a.csv", content)
    assert (status, "data.separator" in said, "data.columns" in said) == (2, True, False)


def test_a_list_in_json_that_holds_no_rows_is_no_list_of_rows(collect):
    rows = [json.loads(line) for line in JSONL.splitlines()]
    others: list[dict[str, Any]] = [{"tags": ["x"]}, {"tags": ["x"], "sizes": [1, 2]}, {"errors": []}]
    for more in others:
        assert collect("a.json", json.dumps({"data": rows, **more}))[2] == ROWS
        assert collect("a.json", json.dumps({**more, "data": rows}))[2] == ROWS
        status, said, _, _ = collect("a.json", json.dumps({"prompt": "a", **more}))
        assert (status, "no 'completion'" in said) == (2, True)


@pytest.mark.parametrize(
    ("task", "columns", "example"),
    [
        ("language-modelling", {}, '{"text": …}'),
        ("language-modelling", {"text": "body"}, '{"body": …}'),
        ("customer-service", {}, '{"prompt": …, "completion": …}'),
        ("customer-service", {"prompt": "text", "subset": "topic"}, '{"text": …, "completion": …}'),
    ],
)
@pytest.mark.parametrize("content", ["[1]", "{no JSON\n", '{"a": [{}], "b": [{}]}'])
def test_the_example_of_an_object_has_the_columns_of_the_task(collect, task, columns, example, content):
    status, said, _, _ = collect("a.json", content, task=task, columns=columns)
    assert (status, example in said) == (2, True)


def test_the_advice_for_a_packed_file_of_unknown_format_works(collect):
    status, said, _, _ = collect("rows.gz", gzip.compress(CSV.encode()))
    assert (status, "data.format" in said) == (2, True)
    assert collect("rows.gz", None, format="csv")[2] == ROWS


@pytest.mark.parametrize("mark", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_the_advice_for_wide_characters_works(collect, mark):
    status, said, _, _ = collect("a.csv", CSV.encode(mark))
    assert status == 2
    named = said.rpartition("data.encoding: ")[2]
    assert collect("a.csv", None, encoding=named)[2] == ROWS
    assert collect("a.jsonl", JSONL.encode(mark), encoding=named)[2] == ROWS


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252", "utf-8", "utf-16-be", "utf-32-le", "cp037"])
@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "one\ntwo\n"), ("a.csv", "text\none\n"), ("a.jsonl", '{"text": "a"}')]
)
def test_an_encoding_other_than_the_byte_order_mark_says_is_refused(collect, name, content, mark, wrong):
    if (mark, wrong) == ("utf-8-sig", "utf-8"):
        wrong = "koi8-r"
    status, said, _, _ = collect(name, content.encode(mark), task="language-modelling", encoding=wrong)
    assert status == 2
    named = said.rpartition("data.encoding: ")[2].strip()
    assert named in ("utf-8", "utf-16")
    assert collect(name, None, task="language-modelling", encoding=named)[0] == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-be", "cp037", "cp500"])
@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "one\ntwö\n"), ("a.csv", "text\none\n"), ("a.jsonl", '{"text": "a"}')]
)
def test_a_wide_or_ebcdic_encoding_of_a_plain_text_is_refused(collect, name, content, encoding):
    status, said, _, _ = collect(name, content, task="language-modelling", encoding=encoding)
    assert status == 2
    assert "it reads as utf-8; remove data.encoding" in said
    encoded = content.encode(encoding)
    assert collect(name, encoded, task="language-modelling", encoding=encoding)[0] == 0


@pytest.mark.parametrize(
    ("written", "named"), [("utf-16-le", "utf-16-be"), ("utf-16-be", "utf-16-le"), ("utf-16-le", "latin-1")]
)
def test_wide_characters_without_a_mark_are_read_in_their_own_order_alone(collect, written, named):
    status, said, _, _ = collect("a.txt", "one\ntwo\n".encode(written), task="language-modelling", encoding=named)
    assert status == 2
    assert said.endswith(f"data.encoding: {written}")
    for right in (written, "utf-16"):
        assert collect("a.txt", None, task="language-modelling", encoding=right)[2] == [("one",), ("two",)]


@pytest.mark.parametrize(
    "encoding", ["hex", "base64", "rot13", "undefined", "idna", "punycode", "klingon", "", "ü", "a\0b"]
)
def test_what_is_no_encoding_of_text_files_is_reported_in_one_line(collect, encoding):
    status, said, _, _ = collect("a.csv", CSV, encoding=encoding)
    assert status == 2
    assert "data.encoding: " in said
    assert "utf-8" in said


@pytest.mark.parametrize(("name", "content"), [("a.csv", CSV * 5000), ("a.jsonl", JSONL * 5000)])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "utf-32"])
def test_another_encoding_than_the_files_is_reported_in_one_short_line(collect, name, content, encoding):
    assert collect(name, content, encoding=encoding)[0] == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "prompt,completion,completion\na,b,c\n", "'completion' is there twice, as column 2 and column 3"),
        ("a.tsv", "prompt\tprompt\tcompletion\na\tb\tc\n", "'prompt' is there twice, as column 1 and column 2"),
        ("a.csv", "note,prompt,completion,note\na,b,c,d\n", "'note' is there twice, as column 1 and column 4"),
        ("a.jsonl", '{"prompt": "a", "completion": "b", "prompt": "c"}\n', "row 1: the key 'prompt' is there twice"),
        ("a.json", '{"data": [], "data": []}', "row 1: the key 'data' is there twice, as key 1 and key 2"),
    ],
)
def test_a_name_that_is_there_twice_is_refused_with_both_places(collect, name, content, message):
    status, said, _, _ = collect(name, content)
    assert status == 2
    assert message in said


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path, collect):
    table = pa.table([pa.array([text]) for text in "abc"], names=["prompt", "completion", "completion"])
    pq.write_table(table, tmp_path / "a.parquet")
    status, said, _, _ = collect("a.parquet", None)
    assert status == 2
    assert "the column 'completion' is there twice, as column 2 and column 3" in said


def test_one_row_with_a_key_twice_is_a_bad_row(collect):
    bad = '{"prompt": "a", "completion": "b", "completion": "c"}'
    for name, content in (
        ("a.jsonl", JSONL + bad + "\n"),
        ("a.json", f"[{JSONL.strip().replace(chr(10), ',')}, {bad}]"),
    ):
        _, _, rows, card = collect(name, content)
        assert rows == ROWS
        (found,) = card["bad_rows"]
        assert found["row"] == 3
        assert "the key 'completion' is there twice, as key 2 and key 3" in found["reason"]


def test_one_column_is_not_both_question_and_answer(collect):
    status, said, _, _ = collect("a.csv", CSV, columns={"completion": "prompt"})
    assert status == 2
    assert "data.columns: prompt and completion are both read from the column 'prompt'" in said
    # Other columns may be used twice, such as intents as a subset.
    assert collect("a.csv", None, columns={"subset": "completion"})[2] == [("a", "b", "b"), ("c", "d", "d")]


def test_json_values_are_text_as_they_are_written_and_nan_is_missing(collect):
    values = [
        "true",
        "false",
        "1.0",
        "10",
        "1e3",
        "1.10",
        "1" * 5000,
        "NaN",
        "Infinity",
        "-Infinity",
        "null",
        "[1]",
        '"nan"',
    ]
    for name, separator in (("a.jsonl", "\n"), ("a.json", ",")):
        objects = separator.join(f'{{"prompt": "p", "completion": {value}}}' for value in values)
        _, _, rows, card = collect(name, objects if name == "a.jsonl" else f"[{objects}]")
        assert [completion for _, completion in rows] == [*values[:7], "nan"]
        reasons = {bad["row"]: bad["reason"] for bad in card["bad_rows"]}
        assert list(reasons) == [8, 9, 10, 11, 12]
        assert "NaN" in reasons[8]
        assert "infinite" in reasons[9]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([True, None, False]), ["true", "false"]),
        (pa.array([1.0, float("nan"), None, 2.5, float("inf")]), ["1", "2.5"]),
        (pa.array([0.1, 3.0], pa.float32()), ["0.1", "3"]),
        (pa.array([7, None]), ["7"]),
        (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
        (pa.array(["x", None, "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([1.0, None]).dictionary_encode(), ["1"]),
        (pa.array([datetime.date(2024, 1, 2)]), ["2024-01-02"]),
        (pa.array([datetime.datetime(2024, 1, 2, 3)]), ["2024-01-02 03:00:00"]),
        (pa.array([b"caf\xc3\xa9", b"\xff"]), ["café"]),
        (pa.array([["x"], None, ["y"]]), []),
        (pa.array([{"x": 1}, None]), []),
        (pa.array(["nan", "NA", ""]), ["nan", "NA", ""]),
    ],
)
def test_parquet_values_are_text_as_arrow_writes_them_and_nan_is_missing(collect, values, texts):
    prompts = [str(number) for number in range(len(values))]
    status, said, rows, card = collect("a.parquet", parquet(prompt=prompts, completion=values))
    if not texts:
        assert status == 2
        assert "expected text" in said
        return
    assert [completion for _, completion in rows] == texts
    assert card["bad_row_count"] == len(values) - len(texts)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([-99999999999999, 0], pa.timestamp("s")),
        pa.array([253402300800000000, 0], pa.timestamp("us")),
        pa.array([2**50, 0], pa.timestamp("s")).dictionary_encode(),
        pa.array([2**30, 0], pa.int32()).cast(pa.date32()),
        pa.array([2**60, 0], pa.date64()),
        pa.array([[2**50], None], pa.list_(pa.timestamp("s"))),
        pa.StringArray.from_buffers(2, pa.py_buffer(bytes(4) + b"\1\0\0\0" + b"\2\0\0\0"), pa.py_buffer(b"\xffa")),
    ],
)
def test_a_parquet_cell_that_python_cannot_hold_is_a_bad_row(collect, values):
    table = parquet(prompt=["a", "b", "c"], completion=["x", "y", "z"], topic=pa.concat_arrays([values, values[1:]]))
    _, _, rows, card = collect("a.parquet", table, columns={"subset": "topic"})
    assert [row[0] for row in rows] == ["b", "c"]
    (bad,) = card["bad_rows"]
    assert bad["row"] == 1
    assert "'topic'" in bad["reason"]
    status, said, rows, card = collect("a.parquet", table, columns={"completion": "topic"})
    if pa.types.is_list(values.type):
        assert (status, "row 1: 'topic'" in said) == (2, True)
    else:
        assert ([row[0] for row in rows], card["bad_rows"][0]["row"]) == (["b", "c"], 1)


NAMES = {"group": "thread", "subset": "topic", "reply": "answer"}
FULL = ("a", "b", "1", "shop", "Yes.")
BARE = ("c", "d", "", "", "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "prompt,completion,thread,topic,answer\na,b,1,shop,Yes.\nc,d,,, \n"),
        (
            "a.jsonl",
            '{"prompt": "a", "completion": "b", "thread": 1, "topic": "shop", "answer": "Yes."}\n'
            '{"prompt": "c", "completion": "d", "thread": null, "topic": NaN}\n',
        ),
        (
            "a.json",
            '[{"prompt": "a", "completion": "b", "thread": 1, "topic": "shop", "answer": "Yes."},'
            '{"prompt": "c", "completion": "d", "topic": ""}]',
        ),
        (
            "a.parquet",
            parquet(
                prompt=["a", "c"],
                completion=["b", "d"],
                thread=[1.0, float("nan")],
                topic=pa.array(["shop", None]).dictionary_encode(),
                answer=["Yes.", None],
            ),
        ),
    ],
)
def test_an_optional_column_may_be_null_missing_or_empty(collect, name, content):
    _, said, rows, card = collect(name, content, columns=NAMES)
    assert (rows, card["bad_row_count"], said) == ([FULL, BARE], 0, "")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_an_optional_column_that_no_row_has_is_a_mistake(collect, name):
    rows = (
        '{"prompt": "a", "completion": "b", "thread": null}\n'
        if name == "a.jsonl"
        else "prompt,completion,thread\na,b,\n"
    )
    status, said, _, _ = collect(name, rows, columns={"group": "tread"})
    assert status == 2
    assert "no column 'tread'; did you mean 'thread'?" in said


BREAKS = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven\x1deight\x1enine"


def test_only_a_line_feed_ends_a_row(collect):
    line = json.dumps({"prompt": BREAKS, "completion": "b"}, ensure_ascii=False)
    _, _, rows, card = collect("a.jsonl", line + "\r\n" + line.replace(", ", ",\r") + "\n")
    assert (rows, card["bad_row_count"]) == ([(BREAKS, "b")] * 2, 0)
    text = f"{BREAKS}\r\nwith a \r within\n\nlast"
    assert collect("a.txt", text, "language-modelling")[2] == [(BREAKS,), ("with a \r within",), ("last",)]
    assert collect("a.tsv", f"prompt\tcompletion\n{BREAKS}\tb\n")[2] == [(BREAKS, "b")]


def test_the_name_of_the_column_above_a_plain_text_is_no_row(collect):
    for first in ("text", "\ufeffText", '"text"'):
        _, said, rows, card = collect("a.txt", f"{first}\r\none\ntwo\n", "language-modelling")
        assert rows == [("one",), ("two",)]
        assert said == "a.txt: line 1, 'text', is read as a header, no row\n"
        assert card["files"][0]["header"] == "text"
    assert collect("a.txt", "texts\none\ntext\n", "language-modelling")[2] == [("texts",), ("one",), ("text",)]
