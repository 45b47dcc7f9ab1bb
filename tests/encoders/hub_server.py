"""As much of Hugging Face as listing and fetching need, on this machine, well behaved or not."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
LARGE = (".onnx", ".safetensors", ".onnx_data", ".bin")
"""Files that the hub keeps beside git: it lists their SHA-256."""


class HubServer(ThreadingHTTPServer):
    """Serves `repositories` (``owner/name`` -> path -> content), each at `COMMIT` alone, also called ``main``.

    Attributes:
        trouble: what goes wrong: ``gated``, ``silent`` (no answer), ``broken`` (500), or for files alone
            ``file-gated``, ``file-missing``, ``file-silent``, ``truncated``, ``changed``.
        asked: paths of files that were asked for.

    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.trouble = ""
        self.asked: list[str] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add_folder(self, repository: str, folder: Path) -> None:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self.repositories[repository] = {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def environment(self, cache: Path) -> dict[str, str]:
        """Variables that send a process here."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            self._listing(path.removeprefix("/api/models/"))
        else:
            self._file(path)

    def _listing(self, path: str) -> None:
        repository, _, revision = path.partition("/revision/")
        trouble, files = self.server.trouble, self.server.repositories.get(repository)
        if trouble == "silent":
            self.server.over.wait(30)
        elif trouble == "gated":
            self._refuse(403, "GatedRepo")
        elif trouble == "broken":
            self._refuse(500, "")
        elif files is None:
            self._refuse(401, "RepoNotFound")
        elif revision not in ("", "main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        else:
            siblings = [_listed(file, content) for file, content in files.items()]
            body = {"id": repository, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            self._send(json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, path: str) -> None:
        repository, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        content = self.server.repositories.get(repository, {}).get(file)
        trouble, large = self.server.trouble, file.endswith(LARGE)
        if self.command == "GET":
            self.server.asked.append(file)
        if trouble == "file-silent" and large:
            self.server.over.wait(30)
        elif trouble == "file-gated":
            self._refuse(401, "GatedRepo")
        elif content is None or revision not in ("main", COMMIT) or (trouble == "file-missing" and large):
            self._refuse(404, "EntryNotFound")
        else:
            headers = {"ETag": f'"{_etag(file, content)}"', "X-Repo-Commit": COMMIT}
            if trouble == "changed" and large:
                content = bytes(content[:-1]) + b"?"
            self._send(content, headers, cut=trouble == "truncated" and large)

    def _send(self, content: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _listed(file: str, content: bytes) -> dict[str, object]:
    listed: dict[str, object] = {"rfilename": file, "size": len(content), "blobId": _blob(content)}
    if file.endswith(LARGE):
        listed["lfs"] = {"sha256": _etag(file, content), "size": len(content), "pointerSize": 130}
    return listed


def _etag(file: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if file.endswith(LARGE) else _blob(content)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
