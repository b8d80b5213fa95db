"""A stand-in for the Hugging Face hub: on this machine, it answers what `huggingface_hub` asks to fetch and send files.

with Hub(folder) as hub:                  # folder/ORG/NAME/FILE
    run(..., env=hub.environment(home))   # in a process of its own, because the library reads its settings at import
hub.requests
"""

import base64
import hashlib
import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

RESOLVE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
API = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)(/(?P<view>revision|tree)/(?P<revision>[^/]+))?")
SEND = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)/(?P<step>preupload|commit)/main")
BATCH = re.compile(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch")
STORE = re.compile(r"/lfs/(?P<digest>[0-9a-f]{64})")
#: The licences that this hub knows.
LICENSES = ("apache-2.0", "cc-by-4.0", "other")
Files = dict[str, bytes]


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    """The bytes that were asked for, as in "bytes=1000-"; None for all."""


class Hub:
    """Serves `root`/ORG/NAME as the repository ORG/NAME with one commit, and takes new commits to its branch `main`.

    Attributes:
        url: what HF_ENDPOINT is to be.
        requests: every request so far, in order.
        gated: repositories that are refused without a token.
        private: repositories that were created as private ones.
        cuts: the bytes after which the connection is cut, of each next GET of a file by its name.
        status: what every request is answered with, unless None.
        write_status: what every request that writes is answered with, unless None; 401 without a token.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests: list[Request] = []
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.cuts: dict[str, list[int]] = {}
        self.status: int | None = None
        self.write_status: int | None = None
        self.sent: dict[str, dict[str, Files]] = {}
        self.stored: Files = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """The variables of a process that uses this hub, with `home` for its cache, and of this process."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING_FACE"))}
        quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "NO_PROXY": "127.0.0.1"}
        # Xet, a protocol for large files, is compiled code that speaks to servers of its own.
        return {**own, **quiet, "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": self.url, "HF_HOME": str(home)}

    @staticmethod
    def commit(repository: str) -> str:
        """The commit of a repository that is a folder: 40 hexadecimal digits."""
        return hashlib.sha1(repository.encode()).hexdigest()

    def commits(self, repository: str) -> dict[str, Files]:
        """The files of every commit of a repository, the newest one last; empty if there is no such repository."""
        folder = self.root / repository
        first = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else None
        return ({self.commit(repository): first} if first is not None else {}) | self.sent.get(repository, {})

    def push(self, repository: str, files: Files) -> str:
        """Add a commit that replaces some files of the branch `main`; return it."""
        before = [*self.commits(repository).values()][-1:] or [{}]
        commit = hashlib.sha1(f"{repository} {len(self.commits(repository))}".encode()).hexdigest()
        self.sent.setdefault(repository, {})[commit] = before[0] | files
        return commit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(Request(self.command, unquote(path), self.headers["Range"]))
        asked = RESOLVE.fullmatch(path) or API.fullmatch(path)
        if self.hub.status or not asked:
            return self._send(self.hub.status or 404)
        repository, revision = asked["repository"], unquote(asked["revision"] or "main")
        commits = self.hub.commits(repository)
        if not commits:  # which of the two the hub doesn't tell a stranger: absent or private
            return self._send(401, {"X-Error-Code": "RepoNotFound"})
        commit = [*commits][-1] if revision == "main" else revision
        if commit not in commits:
            return self._send(404, {"X-Error-Code": "RevisionNotFound"})
        if asked.re is API:
            return self._describe(repository, commit, asked["view"])
        if repository in self.hub.gated and "Authorization" not in self.headers:
            return self._send(401, {"X-Error-Code": "GatedRepo"})
        name = unquote(asked["file"])
        return self._send_file(name, commits[commit].get(name), {"X-Repo-Commit": commit})

    def _describe(self, repository: str, commit: str, view: str | None) -> None:
        files = self.hub.commits(repository)[commit]
        tree = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in files.items()
        ]
        info = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        self._send_json(tree if view == "tree" else info | {"private": repository in self.hub.private})

    def _send_file(self, name: str, data: bytes | None, headers: dict[str, str]) -> None:
        if data is None:
            return self._send(404, {**headers, "X-Error-Code": "EntryNotFound"})
        headers |= {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        start = 0
        if self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cuts = self.hub.cuts.get(name) if self.command == "GET" else None
        return self._send(206 if start else 200, headers, data[start:], cuts.pop(0) if cuts else None)

    def _take(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        self.hub.requests.append(Request(self.command, unquote(path), None))
        if stored := STORE.fullmatch(path):  # the address itself is the permission
            assert hashlib.sha256(body).hexdigest() == stored["digest"]
            self.hub.stored[stored["digest"]] = body
            return self._send(200)
        status = self.hub.write_status or (None if "Authorization" in self.headers else 401)
        if status:
            return self._send(status)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if BATCH.fullmatch(path):
            return self._offer(json.loads(body)["objects"])
        sent = SEND.fullmatch(path)
        if not sent or sent["repository"] not in self.hub.sent:
            return self._send(404, {"X-Error-Code": "RepoNotFound"})
        return self._commit(sent["repository"], body) if sent["step"] == "commit" else self._preupload(json.loads(body))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _create(self, wanted: dict[str, Any]) -> None:
        repository = f"{wanted['organization']}/{wanted['name']}"
        exists = bool(self.hub.commits(repository))
        if not exists:
            self.hub.push(repository, {".gitattributes": b""})
            if wanted.get("visibility") == "private":
                self.hub.private.add(repository)
        return self._send_json({"url": f"{self.hub.url}/{repository}"}, 409 if exists else 200)

    def _validate(self, card: str) -> None:
        license = re.search(r"^license: (.+)$", card, re.MULTILINE)
        if license and license[1] in LICENSES:
            return self._send_json({"errors": [], "warnings": []})
        return self._send_json({"errors": [{"message": '"license" must be one of [...]'}], "warnings": []}, 400)

    def _preupload(self, wanted: dict[str, Any]) -> None:
        large = (".safetensors", ".onnx")
        self._send_json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(large) else "regular",
                        "shouldIgnore": False,
                    }
                    for file in wanted["files"]
                ]
            }
        )

    def _offer(self, objects: list[dict[str, Any]]) -> None:
        for item in objects:
            item["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}", "header": {}}}
        self._send_json({"transfer": "basic", "objects": objects})

    def _commit(self, repository: str, body: bytes) -> None:
        files = {}
        for item in map(json.loads, body.splitlines()):
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        commit = self.hub.push(repository, files)
        self._send_json({"commitUrl": f"{self.hub.url}/{repository}/commit/{commit}", "commitOid": commit})

    def _send_json(self, value: object, status: int = 200) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def _send(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        self.close_connection |= cut is not None
