"""A stand-in for the Hugging Face hub: on this machine, it answers what `huggingface_hub` asks to fetch files.

with Hub(folder) as hub:   # folder/ORG/NAME/FILE
    ...                    # in a process that was started with HF_ENDPOINT=hub.url
hub.requests
"""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

RESOLVE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
API = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)(/(?P<view>revision|tree)/(?P<revision>[^/]+))?")


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    """The bytes that were asked for, as in "bytes=1000-"; None for all."""


class Hub:
    """Serves `root`/ORG/NAME as the repository ORG/NAME, each with one branch `main` and one commit.

    Attributes:
        url: what HF_ENDPOINT is to be.
        requests: every request so far, in order.
        gated: repositories that are refused without a token.
        cuts: the bytes after which the connection is cut, of each next GET of a file by its name.
        status: what every request is answered with, unless None.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests: list[Request] = []
        self.gated: set[str] = set()
        self.cuts: dict[str, list[int]] = {}
        self.status: int | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def commit(repository: str) -> str:
        """The only commit of a repository: 40 hexadecimal digits."""
        return hashlib.sha1(repository.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(Request(self.command, unquote(path), self.headers["Range"]))
        asked = RESOLVE.fullmatch(path) or API.fullmatch(path)
        if self.hub.status or not asked:
            return self._send(self.hub.status or 404)
        repository, revision = asked["repository"], unquote(asked["revision"] or "main")
        commit, folder = self.hub.commit(repository), self.hub.root / repository
        if not folder.is_dir():  # which of the two the hub doesn't tell a stranger: absent or private
            return self._send(401, {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", commit):
            return self._send(404, {"X-Error-Code": "RevisionNotFound"})
        if asked.re is API:
            return self._describe(folder, commit, asked["view"])
        if repository in self.hub.gated and "Authorization" not in self.headers:
            return self._send(401, {"X-Error-Code": "GatedRepo"})
        return self._send_file(folder / unquote(asked["file"]), {"X-Repo-Commit": commit})

    def _describe(self, folder: Path, commit: str, view: str | None) -> None:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        tree = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in files.items()
        ]
        info = {"id": "/".join(folder.parts[-2:]), "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(tree if view == "tree" else info).encode())

    def _send_file(self, path: Path, headers: dict[str, str]) -> None:
        if not path.is_file():
            return self._send(404, {**headers, "X-Error-Code": "EntryNotFound"})
        data = path.read_bytes()
        headers |= {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        start = 0
        if self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cuts = self.hub.cuts.get(path.name) if self.command == "GET" else None
        return self._send(206 if start else 200, headers, data[start:], cuts.pop(0) if cuts else None)

    def _send(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        self.close_connection |= cut is not None
