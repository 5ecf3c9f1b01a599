"""Files of rows in each format, and messages about rows that can't be used."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenllm.data.formats import read
from greenllm.data.raw_rows import mapped
from greenllm.documents.card import BadRow
from greenllm.errors import UserError

COLUMNS = {"prompt": "prompt", "completion": "completion"}


def rows_of(path: Path, content: bytes, *, format: str = "auto", encoding: str = "utf-8", columns=COLUMNS):
    path.write_bytes(content)
    return list(mapped(read(path, path.name, format, encoding, columns), path.name, columns, encoding))


def test_jsonl_maps_columns_and_takes_numbers_as_text(tmp_path):
    rows = rows_of(
        tmp_path / "a.jsonl",
        b'{"q": "one", "n": 1}\n\n{"q": "\xc3\xa9", "n": 2.5}\n',
        columns={"prompt": "q", "completion": "n"},
    )
    assert rows == [
        {"row": 1, "prompt": "one", "completion": "1"},
        {"row": 3, "prompt": "é", "completion": "2.5"},
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "x", ', "not valid JSON (Expecting property name enclosed in double quotes at column 17)"),
        (b'["x", "y"]', "a JSON list"),
        (b'{"prompt": "x"}', "no 'completion'"),
        (b'{"prompt": "x", "completion": null}', "null"),
        (b'{"prompt": "x", "completion": ["y"]}', "a list, expected text"),
        ('{"prompt": "café", "completion": "y"}'.encode("latin-1"), "encoding: latin-1"),
        (b'{"prompt": "\\ud800", "completion": "y"}', "half a character"),
    ],
)
def test_a_bad_jsonl_line_is_named_and_the_rest_is_read(tmp_path, line, reason):
    good = b'{"prompt": "x", "completion": "y"}\n'
    first, bad, last = rows_of(tmp_path / "a.jsonl", good + line + b"\n" + good)
    assert (first["row"], last["row"]) == (1, 3)
    assert isinstance(bad, BadRow)
    assert (bad.file, bad.row) == ("a.jsonl", 2)
    assert reason in bad.reason


def test_the_configured_encoding_is_used(tmp_path):
    content = '{"prompt": "café", "completion": "y"}\n'.encode("latin-1")
    assert rows_of(tmp_path / "a.jsonl", content, encoding="latin-1") == [
        {"row": 1, "prompt": "café", "completion": "y"}
    ]


def test_a_utf16_file_is_refused_unless_its_encoding_is_named(tmp_path):
    content = "prompt,completion\na,b\n".encode("utf-16")
    with pytest.raises(UserError, match=r"a\.csv: the header holds bytes that are not utf-8"):
        rows_of(tmp_path / "a.csv", content)
    assert rows_of(tmp_path / "a.csv", content, encoding="utf-16") == [{"row": 1, "prompt": "a", "completion": "b"}]


def test_csv_with_quoted_line_breaks_and_a_byte_order_mark(tmp_path):
    content = b'\xef\xbb\xbfprompt,completion\r\n"two\r\nlines, ""quoted""",x\r\nplain,y\r\n'
    assert rows_of(tmp_path / "a.csv", content) == [
        {"row": 1, "prompt": 'two\r\nlines, "quoted"', "completion": "x"},
        {"row": 2, "prompt": "plain", "completion": "y"},
    ]


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)] * 2),
        min_size=1,
    )
)
def test_rows_written_by_csv_are_read_back(rows):
    import csv
    import io
    import tempfile

    text = io.StringIO()
    csv.writer(text).writerows([("prompt", "completion"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        read_rows = rows_of(Path(folder) / "a.csv", text.getvalue().encode())
    assert [(row["prompt"], row["completion"]) for row in read_rows] == rows


def test_a_csv_row_with_too_few_cells_is_bad(tmp_path):
    _, bad = rows_of(tmp_path / "a.csv", b"prompt,completion\na,b\nalone\n")
    assert isinstance(bad, BadRow)
    assert bad.row == 2
    assert "line 3" in bad.reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv: the file is empty"),
        (b"text,completion\na,b\n", "a.csv: no column 'prompt'.*data.columns: {prompt: NAME}"),
        (b'prompt,completion\na,b\n"never closed,c\nd,e\n', "a.csv: row 2 \\(line 3\\).*never closed"),
    ],
)
def test_an_unusable_csv_is_refused_at_once(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path / "a.csv", content)


def test_tabs_parquet_and_text(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert rows_of(tmp_path / "a.tsv", b"prompt\tcompletion\na, b\tc\n")[0]["prompt"] == "a, b"
    assert rows_of(tmp_path / "a.txt", b"one\r\n\ntwo", columns={"text": "text"}) == [
        {"row": 1, "text": "one"},
        {"row": 3, "text": "two"},
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["a", None], "completion": ["b", "c"], "more": [1, 2]}), path)
    good, bad = rows_of(path, path.read_bytes())
    assert good == {"row": 1, "prompt": "a", "completion": "b"}
    assert bad.row == 2
    with pytest.raises(UserError, match=r"bad\.parquet: not a readable Parquet file"):
        rows_of(tmp_path / "bad.parquet", b"PAR1 no")


def test_a_file_that_is_not_there_and_an_unknown_ending(tmp_path):
    with pytest.raises(UserError, match=r"gone\.jsonl: no such file"):
        list(read(tmp_path / "gone.jsonl", "gone.jsonl", "auto", "utf-8", COLUMNS))
    with pytest.raises(UserError, match=r"unknown ending '.xml'"):
        rows_of(tmp_path / "a.xml", b"x")
    with pytest.raises(UserError, match="'klingon' is unknown"):
        rows_of(tmp_path / "a.csv", b"x", encoding="klingon")
