"""`greenllm collect` on embedded data, files and downloads, through the command line."""

import contextlib
import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.parquet as pq
import pytest

from greenllm.cli import main

ROWS = b"".join(
    json.dumps({"prompt": f"question {n}", "completion": f"answer {n}"}).encode() + b"\n" for n in range(5000)
)
SHA256 = hashlib.sha256(ROWS).hexdigest()


@pytest.fixture
def collect(tmp_path, capsys):
    """Run `greenllm collect` into tmp_path/out; return its exit status and stderr."""

    def run(settings, task="translation"):
        status = main(
            [
                "collect",
                "--task",
                task,
                "--settings",
                json.dumps(settings),
                "--base",
                str(tmp_path),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        return status, capsys.readouterr().err

    return run


def card(tmp_path):
    return json.loads((tmp_path / "out" / "card.json").read_text())


@pytest.mark.parametrize("task", ["customer-service", "translation"])
def test_embedded_data_are_the_same_bytes_each_time(tmp_path, collect, task):
    settings = {"source": "embedded", "rows": 500}
    assert collect(settings, task)[0] == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(first) == {"train.parquet", "card.json", ".greenllm-written"}
    assert collect(settings, task)[0] == 0
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert card(tmp_path)["rows"] == pq.read_metadata(tmp_path / "out" / "train.parquet").num_rows == 500
    assert card(tmp_path)["licence"] == {"customer-service": "Apache-2.0", "translation": "Unicode-3.0"}[task]


def test_files_with_mapped_columns_and_a_test_part(tmp_path, collect, monkeypatch):
    (tmp_path / "train.csv").write_text('text,category,person\n"two\nlines",a,p1\nplain,b,p2\n')
    (tmp_path / "test.csv").write_text("text,category,person\nother,a,p3\n")
    work = tmp_path / "work.json"
    monkeypatch.setenv("GREENLLM_WORK", str(work))
    columns = {"prompt": "text", "completion": "category", "group": "person"}
    settings = {"source": "file", "train": "train.csv", "test": "test.csv", "columns": columns, "licence": "CC0-1.0"}
    status, _ = collect(settings, "customer-service")
    assert status == 0
    assert pq.read_table(tmp_path / "out" / "train.parquet").to_pylist() == [
        {"row": 1, "prompt": "two\nlines", "completion": "a", "group": "p1"},
        {"row": 2, "prompt": "plain", "completion": "b", "group": "p2"},
    ]
    assert pq.read_table(tmp_path / "out" / "test.parquet").num_rows == 1
    found = card(tmp_path)
    assert (found["source"], found["licence"], found["rows"], found["bad_row_count"]) == ("file", "CC0-1.0", 3, 0)
    train = (tmp_path / "train.csv").read_bytes()
    assert found["files"][0] == {
        "part": "train",
        "file": "train.csv",
        "sha256": hashlib.sha256(train).hexdigest(),
        "bytes": len(train),
        "rows": 2,
    }
    assert json.loads(work.read_text()) == {"samples": 3}


def test_bad_rows_are_named_and_noted_in_the_card(tmp_path, collect):
    (tmp_path / "a.jsonl").write_bytes(
        b'{"prompt": "x", "completion": "y"}\n{broken\n{"prompt": "caf\xe9", "completion": "y"}\n'
    )
    status, said = collect({"source": "file", "train": "a.jsonl"})
    assert status == 0
    assert "a.jsonl: row 2: not valid JSON" in said
    assert "a.jsonl: row 3: " in said
    assert card(tmp_path)["bad_row_count"] == 2
    assert [(bad["file"], bad["row"]) for bad in card(tmp_path)["bad_rows"]] == [("a.jsonl", 2), ("a.jsonl", 3)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"{broken\n", "a.jsonl: row 1: not valid JSON"),
        ("a.jsonl", b"\n\n", "a.jsonl: no rows; expected rows of prompt and completion"),
        ("a.csv", b"text,label\nx,y\n", "a.csv: no column 'prompt'; known: text, label; say which one is the prompt"),
        ("a.csv", b"prompt,completion\n", "a.csv: no rows"),
        ("a.csv", b"", "a.csv: the file is empty"),
        ("a.txt", b"some text\n", "a.txt: no column 'prompt'"),
        ("a.parquet", b"not parquet", "a.parquet: not a readable Parquet file"),
    ],
)
def test_an_unusable_file_is_refused_in_one_line_and_leaves_nothing(tmp_path, collect, name, content, message):
    (tmp_path / name).write_bytes(content)
    status, said = collect({"source": "file", "train": name})
    (line,) = [line for line in said.splitlines() if line.startswith("greenllm collect: error: ")]
    assert status == 2
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_file_that_is_not_there_is_named(collect):
    status, said = collect({"source": "file", "train": "gone.jsonl"})
    assert status == 2
    assert "gone.jsonl: no such file" in said


@contextlib.contextmanager
def server(content, breaks=0):
    """Serve `content` at any address; the first `breaks` connections end halfway. Yield the address and a log."""
    log = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            log.append((self.path, start))
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if len(log) <= breaks else body)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}", log
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def url_settings(address, sha256=SHA256):
    return {"source": "url", "train": {"url": f"{address}/train.jsonl", "sha256": sha256}}


def test_a_packed_download_is_read_by_the_ending_of_its_address(tmp_path, collect):
    packed = gzip.compress(b"prompt\tcompletion\na\tb\n")
    download = {"url": "/rows.tsv.gz?download=1", "sha256": hashlib.sha256(packed).hexdigest()}
    with server(packed) as (address, _):
        download["url"] = address + download["url"]
        assert collect({"source": "url", "train": download})[0] == 0
    assert pq.read_table(tmp_path / "out" / "train.parquet").to_pylist() == [
        {"row": 1, "prompt": "a", "completion": "b"}
    ]


def test_a_download_resumes_where_the_connection_broke(tmp_path, collect):
    with server(ROWS, breaks=1) as (address, log):
        status, _ = collect(url_settings(address))
    assert status == 0
    assert [start for _, start in log] == [0, len(ROWS) // 2]
    assert pq.read_metadata(tmp_path / "out" / "train.parquet").num_rows == 5000
    assert card(tmp_path)["files"][0]["sha256"] == SHA256
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_broken_download_is_resumed_by_the_next_run(tmp_path, collect, monkeypatch):
    monkeypatch.setattr("greenllm.data.download.PAUSE_S", 0.01)
    with server(ROWS, breaks=100) as (address, _):
        status, said = collect(url_settings(address))
    assert status == 2
    assert "the next run resumes there" in said
    (partial,) = tmp_path.rglob("*.partial")
    fetched = partial.stat().st_size
    assert 0 < fetched < len(ROWS)
    with server(ROWS) as (address, log):
        assert collect(url_settings(address))[0] == 0
    assert [start for _, start in log] == [fetched]


def test_a_file_with_another_sha256_is_refused_and_not_kept(tmp_path, collect):
    with server(ROWS) as (address, _):
        status, said = collect(url_settings(address, "0" * 64))
    assert status == 2
    assert f"SHA-256 is {SHA256}, expected {'0' * 64}; the download was not kept. Correct the url or" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_half_of_another_file_is_downloaded_again(tmp_path, collect):
    with server(ROWS) as (address, log):
        folder = tmp_path / ".out.downloads"
        folder.mkdir()
        (folder / f"{SHA256}.partial").write_bytes(b"half of what was there before")
        assert collect(url_settings(address))[0] == 0
    assert [start for _, start in log] == [29, 0]


def test_a_refused_request_is_not_repeated(collect):
    with server(ROWS) as (address, log):
        settings = {"source": "url", "train": {"url": f"{address}/x", "sha256": SHA256}, "format": "jsonl"}
        assert collect(settings)[0] == 0
        assert len(log) == 1
    status, said = collect(url_settings(address))  # nobody listens there now
    assert status == 2
    assert "the connection failed" in said


def test_a_proxy_from_the_environment_is_used(collect, monkeypatch):
    with server(ROWS) as (address, log):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("http_proxy", address)
        assert collect(url_settings("http://data.invalid"))[0] == 0
    assert [path for path, _ in log] == ["http://data.invalid/train.jsonl"]
