"""The service as a process of its own: under load, beside clients that misbehave, and when it is asked to end."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from struct import pack

import pytest
from serve.conftest import running
from support import dicom_bytes

BOUNDARY = "frontier"


def body(image: bytes, task: str) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="task"\r\n\r\n{task}\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="image"; filename="scan"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def post(address: str, image: bytes, task: str = "breast_2cls") -> tuple[int, dict]:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    request = urllib.request.Request(f"{address}/predict", body(image, task), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def handles(pid: int) -> tuple[int, int]:
    """The open files and the threads of a process."""
    return tuple(len(list(Path(f"/proc/{pid}/{name}").iterdir())) for name in ("fd", "task"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with running("--engine", "onnx") as started:  # whose answers don't depend on the batch, to the last digit
        yield started


def test_others_are_answered_beside_clients_that_misbehave(
    service: tuple[str, subprocess.Popen[bytes]], scan: bytes
) -> None:
    address, process = service
    expected = post(address, scan)
    assert expected[0] == 200
    with ThreadPoolExecutor(8) as threads:  # every thread of the service has started
        list(threads.map(lambda image: post(address, image), [scan] * 100))
    before = handles(process.pid)
    port = int(address.rpartition(":")[2])
    request = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    whole = body(scan, "breast_2cls")
    slow = []
    for length in (len(whole), 10**9, 10**6):
        for sent in (b"", whole[:100], whole[:-3]):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(f"{request}Content-Length: {length}\r\n\r\n".encode() + sent)
            slow.append(client)
    slow[0].close()  # killed in the middle
    malformed = [scan[: len(scan) // 2], b"\x89PNG\r\n\x1a\n" * 20, b"DICM" * 99, bytes(1000), b"GIF89a" + scan]
    malformed.append(scan[:16] + pack(">II", 60_000, 60_000) + scan[24:])  # 3.6 billion pixels
    malformed.append(dicom_bytes.deflated(dicom_bytes.header(), 200 << 20))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda image: post(address, image), malformed * 10 + [scan] * 10))
    assert answers[-10:] == [expected] * 10
    assert {status for status, _ in answers[:-10]} <= {200, 422}
    for client in slow:
        client.close()
    for _ in range(100):
        if handles(process.pid) <= before:
            break
        time.sleep(0.05)
    assert handles(process.pid)[0] <= before[0]
    assert handles(process.pid)[1] <= before[1]
    assert process.poll() is None


def test_accepted_requests_are_answered_after_sigterm(small_weights: Path, scan: bytes) -> None:
    with running("--weights", small_weights, "--engine", "torch") as (address, process):
        with ThreadPoolExecutor(12) as threads:
            waiting = [threads.submit(post, address, scan) for _ in range(48)]
            while sum(future.done() for future in waiting) < 6:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
        failures = [error for future in waiting if (error := future.exception()) is not None]
        assert {future.result()[0] for future in waiting if future.exception() is None} == {200}
        # Only a connection that the service never accepted may fail: refused, or reset while it still queued.
        kinds = {type(getattr(error, "reason", error)) for error in failures}
        assert kinds <= {ConnectionRefusedError, ConnectionResetError}
        assert len(failures) < len(waiting)
        assert process.wait(30) == 0


def test_weights_that_are_missing_end_the_command_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"error: no weights file .*none.safetensors"):  # noqa: SIM117
        with running("--weights", tmp_path / "none.safetensors"):
            pass


def test_a_taken_port_is_named(service: tuple[str, subprocess.Popen[bytes]], small_weights: Path) -> None:
    port = service[0].rpartition(":")[2]
    with pytest.raises(AssertionError, match=f"error: expected a free port, found port {port}"):  # noqa: SIM117
        with running("--weights", small_weights, "--engine", "torch", "--port", port):
            pass
