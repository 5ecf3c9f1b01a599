"""A Hugging Face hub on loopback: as much of its API as one data set and one model need."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Container, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def fake_hub(
    repositories: Mapping[str, Mapping[str, bytes]], private: Mapping[str, str] = {}, gated: Container[str] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Serve repositories (`datasets/owner/name` or `models/owner/name` → files); give the address and a request log.

    Those in `private` (→ token) are there only for who sends their token, as on the real hub. Of those
    that are `gated` all see the list of files, and none gets one.
    """
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
            self.send_response(status)
            own = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            for name, value in {**own, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            requests.append(f"{self.command} {path}")
            length = int(self.headers.get("Content-Length", 0))
            posted = self.rfile.read(length)
            for repository, files in repositories.items():
                kind, id = repository.split("/", 1)
                token = private.get(repository)
                if token is not None and self.headers.get("Authorization") != f"Bearer {token}":
                    continue
                if path.startswith(f"api/{repository}"):
                    return self.api(id, files, path.removeprefix(f"api/{repository}").strip("/"), posted)
                resolve = (repository if kind == "datasets" else id) + "/resolve/"
                if path.startswith(resolve) and repository in gated:
                    return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
                if path.startswith(resolve):
                    return self.file(files, path.removeprefix(resolve).split("/", 1))
            self.answer(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

        do_HEAD = do_POST = do_GET

        def api(self, id: str, files: Mapping[str, bytes], rest: str, posted: bytes) -> None:
            action, _, revision = rest.partition("/")
            revision = revision.split("/")[0] or "main"
            if revision not in ("main", COMMIT):
                return self.answer(404, b'{"error": "Revision not found"}', {"X-Error-Code": "RevisionNotFound"})
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": git_oid(content)}
                for name, content in files.items()
            ]
            if action == "tree":
                return self.answer(200, json.dumps(entries).encode())
            if action == "paths-info":
                wanted = json.loads(posted)["paths"] if posted.startswith(b"{") else posted.decode()
                return self.answer(200, json.dumps([entry for entry in entries if entry["path"] in wanted]).encode())
            if action in ("", "revision"):
                info = {"id": id, "sha": COMMIT, "private": False, "cardData": {"license": "cc-by-4.0"}, "tags": []}
                info["siblings"] = [{"rfilename": name} for name in files]
                return self.answer(200, json.dumps(info).encode())
            self.answer(404, b'{"error": "not found"}')

        def file(self, files: Mapping[str, bytes], revision_and_name: list[str]) -> None:
            name = revision_and_name[1]
            if name not in files:
                return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            headers = {"ETag": f'"{git_oid(files[name])}"', "X-Repo-Commit": COMMIT, "Content-Type": "text/plain"}
            self.answer(200, files[name], headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
