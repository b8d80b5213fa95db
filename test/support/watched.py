"""`python -m inference` under watch: each file it opens or changes, each connection and each process, as events.

Two watches, because each sees what the other can't: Python's audit hook (PEP 578) sees pickles, compiled text and
events before the kernel is asked; strace sees what libraries in C do below Python.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

READ, WRITE, FORBIDDEN = "read", "write", "forbidden"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# The log is opened before the hook is set; os.write raises no event.
_RUNNER = """
import json, os, runpy, sys
log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)
deed = sys.argv.pop(1)
def plain(value):
    return value if isinstance(value, (int, type(None))) else os.fsdecode(value) if isinstance(
        value, (str, bytes, os.PathLike)) else repr(type(value))
def hook(event, args):
    if event == "import" or event.startswith(KINDS):
        os.write(log, (json.dumps([event, [plain(arg) for arg in args]]) + "\\n").encode())
KINDS = ("open", "os.", "shutil.", "tempfile.", "socket.", "subprocess.", "pickle.", "compile", "ctypes.dlopen",
         "pty.", "urllib.", "http.", "ftplib.", "smtplib.", "sqlite3.", "mmap.")
sys.addaudithook(hook)
exec(deed)
sys.argv[0] = "inference"
runpy.run_module("inference", run_name="__main__", alter_sys=True)
"""

_BEFORE = ":".join(entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry and "cv2" not in entry)
_READS = {"os.listdir", "os.scandir", "os.chdir", "ctypes.dlopen"}
_CHANGES = ("os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chown", "os.chmod")
_CHANGES += ("os.truncate", "os.utime", "os.setxattr", "os.removexattr", "os.chflags", "shutil.", "tempfile.")
_NEVER = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "sqlite3.", "subprocess.", "pty.", "pickle.")
_NEVER += ("os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "os.kill")


@dataclass(frozen=True, slots=True)
class Event:
    """What was done (`READ`, `WRITE` or `FORBIDDEN`), by which call, and to which file or with what."""

    deed: str
    call: str
    what: str


def audited(log: Path, *flags: object, deed: str = "pass") -> tuple[subprocess.CompletedProcess[str], list[Event]]:
    """Run with the audit hook; `deed` is Python that runs under the hook before the command."""
    command = [sys.executable, "-c", _RUNNER, log, deed, *flags]
    ended = _start(command)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return ended, [event for call, args in records for event in _events(call, args)]


def _events(call: str, args: list[str | int | None]) -> list[Event]:
    """One event for each path of an audit event; none for one that touches nothing."""
    paths = [arg for arg in args if isinstance(arg, str)]
    if call == "open":
        # Without a path it is a file descriptor that was opened before.
        deed = WRITE if isinstance(args[2], int) and args[2] & WRITING else READ
        return [Event(deed, call, paths[0])] if isinstance(args[0], str) else []
    if call in _READS or call == "import":
        # The second of import is the place of an extension module.
        return [Event(READ, call, path) for path in (paths[1:2] if call == "import" else paths) if os.sep in path]
    if call == "compile":
        return [Event(FORBIDDEN, call, text) for text in paths if "adversary" in text]
    if call.startswith(_CHANGES):
        return [Event(WRITE, call, path) for path in paths]
    return [Event(FORBIDDEN, call, str(args))] if call.startswith(_NEVER) else []


_OPENS = "open,openat,openat2,creat"
_ALTERS = "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,mknod,mknodat"
_ALTERS += ",chmod,fchmodat,chown,lchown,fchownat,truncate,utimensat,setxattr"
_STARTS = "execve,execveat,fork,vfork,socket,connect,bind,sendto"
_CALL = re.compile(r"^\d+ +(?P<call>\w+)\((?P<args>.*)$")
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<at>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')


def strace() -> str | None:
    """The place of strace, None where it is absent or not allowed to trace."""
    found = shutil.which("strace")
    works = found and subprocess.run([found, "-qq", "-o", os.devnull, "true"], capture_output=True).returncode == 0
    return found if works else None


def traced(log: Path, *flags: object) -> tuple[subprocess.CompletedProcess[str], list[Event]]:
    """Run under strace, which sees every thread and process and what C libraries ask of the kernel."""
    calls = f"trace={_OPENS},{_ALTERS},{_STARTS}"
    command = [strace(), "-f", "-y", "-qq", "--seccomp-bpf", "-s", 8192, "-o", log, "-e", calls]
    ended = _start([*command, sys.executable, "-m", "inference", *flags])
    events = [event for line in log.read_text(errors="replace").splitlines() for event in _system_call(line)]
    return ended, events[1:]  # the first is the start of Python


def _system_call(line: str) -> list[Event]:
    found = _CALL.match(line)
    if not found:  # a signal, or the rest of a call that was begun on an earlier line
        return []
    call, args = found["call"], found["args"]
    if call in _STARTS.split(","):
        return [Event(FORBIDDEN, call, args)]
    writes = call == "creat" or call in _ALTERS.split(",") or re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)", args)
    paths = [
        os.path.join(match["at"] or ROOT, match["path"].encode().decode("unicode_escape").encode("latin-1").decode())
        for match in _PATH.finditer(args)
    ]
    return [Event(WRITE if writes else READ, call, path) for path in paths]


def _start(command: list[object]) -> subprocess.CompletedProcess[str]:
    # OpenCV adds its folder, and an empty entry that makes the loader search the working folder.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "LD_LIBRARY_PATH": _BEFORE}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT, env=environment)
