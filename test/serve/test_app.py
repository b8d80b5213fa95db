"""The HTTP interface: what each request gets."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from support.small_weights import TASKS

import aurora
from aurora.errors import AuroraError, WeightsError
from aurora.render.drawing import COLOURS
from inference.cli import main
from inference.serve import guard
from inference.serve.app import PAGE, make_app
from inference.serve.service import WAITING, ServeSettings, Service

MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


def settings(weights: Path, root: Path, **changes: Any) -> ServeSettings:
    return ServeSettings(root / "input", root / "output", weights=weights, engine="torch", **changes)


def client_of(service: Service, **flags: Any) -> TestClient:
    return TestClient(make_app(service, failed=lambda error: None), "http://127.0.0.1", **flags)


@pytest.fixture
def service(small_weights: Path, tmp_path: Path) -> Service:
    made = Service(settings(small_weights, tmp_path))
    made.load()
    return made


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with client_of(service) as started:
        yield started


def predict(client: TestClient, image: bytes, *tasks: str, **fields: object) -> Response:
    return client.post("/predict", files={"image": ("name", image)}, data={"task": list(tasks), **fields})


def sentence(response: Response) -> str:
    (text,) = response.json().values()
    assert "\n" not in text
    assert "Traceback" not in text
    return text


def test_a_prediction_is_that_of_the_python_interface(
    client: TestClient, small_weights: Path, scan: bytes, tmp_path: Path
) -> None:
    response = predict(client, scan, *TASKS, pixel_size=0.5, picture="true")
    assert response.status_code == 200
    (expected,) = aurora.load(small_weights, engine="torch").predict_many([scan], TASKS, pixel_size=0.5)
    found = response.json()["results"]
    for record, result in zip(found, expected, strict=True):
        stated = json.loads(json.dumps(result.to_record() | {"source": None, "answer": result.answer}))
        assert {name: record[name] for name in stated} == stated
    mask = cv2.imdecode(np.frombuffer(base64.b64decode(found[0]["mask_png"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, expected[0].mask)
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(found[0]["picture_jpeg"]), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (60, 80, 3)
    assert "picture_jpeg" not in predict(client, scan, *TASKS).json()["results"][0]


def test_the_frames_of_a_cine_come_one_by_one(
    client: TestClient, small_weights: Path, animation: bytes, tmp_path: Path
) -> None:
    response = predict(client, animation, *TASKS, frames="every:2", picture="true")
    assert response.status_code == 200
    found = [json.loads(line) for line in response.text.splitlines()]
    assert [(item["frame"], item["frames"], item["fps"]) for item in found] == [(0, 5, 25), (2, 5, 25), (4, 5, 25)]
    (tmp_path / "a.gif").write_bytes(animation)
    model = aurora.load(small_weights, engine="torch")
    for item, results in zip(
        found, model.predict_many(aurora.frames(tmp_path / "a.gif", "every:2"), TASKS), strict=True
    ):
        assert [record["answer"] for record in item["results"]] == [result.answer for result in results]
        assert "picture_jpeg" in item["results"][0]
    assert "aurora_waiting 0.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ("some", "expected frames as all, middle, every:N or A:B"),
        ("7:", "expected frames that choose from 1 to 3 of the 5 in the file, found '7:', which chooses 0"),
        ("all", "expected frames that choose from 1 to 3 of the 5 in the file, found 'all', which chooses 5"),
    ],
)
def test_frames_that_cannot_be_chosen_are_named(
    client: TestClient, animation: bytes, monkeypatch: pytest.MonkeyPatch, frames: str, words: str
) -> None:
    monkeypatch.setattr("inference.serve.service.MAX_FRAMES", 3)
    response = predict(client, animation, "breast_2cls", frames=frames)
    assert response.status_code == 422
    assert sentence(response).startswith(words)
    assert sentence(predict(client, b"text", "breast_2cls", frames="all")).startswith("no prediction: the image ")
    assert "aurora_waiting 0.0" in client.get("/metrics").text


def test_before_the_weights_are_loaded_nothing_is_answered(small_weights: Path, tmp_path: Path, scan: bytes) -> None:
    release = Event()
    service = Service(settings(small_weights, tmp_path))
    load = service.load
    service.load = lambda: (release.wait(10), load())  # type: ignore[method-assign, assignment, return-value]
    with client_of(service) as client:
        assert client.get("/health").status_code == 503
        response = predict(client, scan, "breast_2cls")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert client.post("/invoke").status_code == 503
        assert client.get("/tasks").status_code == 503
        release.set()
        while client.get("/health").status_code == 503:
            pass
        assert predict(client, scan, "breast_2cls").status_code == 200


def test_weights_that_cannot_be_used_end_the_service(tmp_path: Path) -> None:
    failures: list[AuroraError] = []
    with TestClient(make_app(Service(settings(tmp_path / "none.safetensors", tmp_path)), failures.append)):
        pass
    assert isinstance(failures[0], WeightsError)


def test_the_tasks_are_those_of_the_weights(client: TestClient) -> None:
    assert [task["id"] for task in client.get("/tasks").json()] == list(TASKS)


@pytest.mark.parametrize(
    ("image", "tasks", "fields", "status", "words"),
    [
        (b"", ["lung"], {}, 422, "expected a task that the weights know, found 'lung'"),
        (b"", ["breast_2cls"], {}, 422, "no prediction: the image "),
        (b"plain text", ["breast_2cls"], {}, 422, "no prediction: the image "),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), ["breast_2cls"], {}, 422, "no prediction: the image "),
        (b"", [], {}, 422, "the field task: "),
        (b"", ["breast_2cls"], {"pixel_size": "wide"}, 422, "the field pixel_size: "),
        (b"", ["breast_2cls"], {"pixel_size": "-1"}, 422, "the field pixel_size: "),
        (b"", ["breast_2cls"], {"pixel_size": "inf"}, 422, "the field pixel_size: "),
    ],
)
def test_a_wrong_request_gets_one_sentence(
    client: TestClient, image: bytes, tasks: list[str], fields: dict, status: int, words: str
) -> None:
    response = predict(client, image, *tasks, **fields)
    assert response.status_code == status
    assert sentence(response).startswith(words)


def test_other_wrong_requests(client: TestClient, scan: bytes) -> None:
    response = client.get("/predict")
    assert response.status_code == 405
    assert sentence(response) == "expected POST /predict, found GET; see /api"
    for path in ("/docs", "/page/../serve.py", "/page/"):
        response = client.get(path)
        assert response.status_code == 404
        assert sentence(response).startswith("expected a path of this service, found /")
    response = client.post("/predict", data={"image": "a name", "task": "breast_2cls"})
    assert response.status_code == 422
    assert sentence(response) == "the field image: expected a file, found text; see /api"
    for frames in ({}, {"frames": "all"}):
        response = predict(client, scan, "breast_2cls", "breast_2cls", **frames)
        assert response.status_code == 422
        assert sentence(response) == "expected each task once, found breast_2cls 2 times"
    response = client.post("/predict", content=b"{}", headers={"Content-Type": "application/json"})
    assert response.status_code == 415
    assert sentence(response) == (
        "expected multipart/form-data with the fields image and task, found application/json; see /api"
    )
    for content in (b"--x\r\nbroken", b"broken"):
        response = client.post("/predict", content=content, headers=MULTIPART)
        assert response.status_code in (400, 422)
        assert sentence(response).startswith(("the field image: ", "expected a whole multipart body"))


@pytest.mark.parametrize(
    ("host", "token", "called", "status"),
    [
        ("127.0.0.1", None, "127.0.0.1:4743", 200),
        ("127.0.0.1", None, "localhost", 200),
        ("::1", None, "[::1]:4743", 200),
        ("127.0.0.1", None, "elsewhere.example:4743", 403),
        ("127.0.0.1", None, "192.0.2.1", 403),
        ("127.0.0.1", None, "[broken", 403),
        ("127.0.0.1", "secret", "elsewhere.example", 200),
        ("0.0.0.0", None, "elsewhere.example", 200),
    ],
)
def test_a_page_elsewhere_cannot_take_the_name_of_a_local_service(
    small_weights: Path, tmp_path: Path, host: str, token: str | None, called: str, status: int
) -> None:
    service = Service(settings(small_weights, tmp_path, host=host, token=token))
    service.load()
    with client_of(service) as client:
        response = client.get("/health", headers={"Host": called})
    assert response.status_code == status
    assert status == 200 or called in sentence(response)


def test_a_page_elsewhere_cannot_start_an_invocation(client: TestClient, scan: bytes) -> None:
    for origin, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 500), ("none", 500)):
        assert client.post("/invoke", headers={"Sec-Fetch-Site": origin}).status_code == status
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link
    assert "Access-Control-Allow-Origin" not in client.get("/tasks", headers={"Origin": "http://a.example"}).headers


def test_the_requests_are_described_for_people_and_programs(small_weights: Path, tmp_path: Path) -> None:
    with client_of(Service(settings(small_weights, tmp_path, token="secret"))) as client:
        assert client.get("/api").text == (PAGE / "api.html").read_text()
        assert client.get("/page/swagger/swagger-ui-bundle.js").status_code == 200
        described = client.get("/openapi.json").json()
    assert list(described["components"]["securitySchemes"]) == ["HTTPBearer"]
    responses = described["paths"]["/predict"]["post"]["responses"]
    assert set(responses) == {"200", "400", "413", "415", "422", "429", "503"}
    errors = {json.dumps(responses[status]["content"]) for status in responses if status != "200"}
    assert errors == {'{"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}'}


def test_a_body_that_is_too_large_is_refused_unread(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_BODY", 1 << 20)
    assert sentence(predict(client, bytes(2 << 20), "breast_2cls")) == (
        "expected at most 1 MiB, found 2 MiB or more; send a smaller file"
    )

    def parts() -> Iterator[bytes]:  # without a stated length
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield bytes(1 << 16)

    response = client.post("/predict", content=parts(), headers=MULTIPART)
    assert response.status_code == 413


def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def silent() -> dict:
        await asyncio.sleep(10)
        return {}

    async def nothing(*_: object) -> None:
        pass

    async def receive() -> None:
        await guard._Body(silent, guard.Guard(nothing, "127.0.0.1", None, nothing)).receive()

    with pytest.raises(guard.HTTPException, match="expected the whole request within 0 s"):
        asyncio.run(receive())


def test_bodies_that_wait_are_bounded_together(
    client: TestClient, scan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_HELD", len(scan) // 2)
    response = predict(client, scan, "breast_2cls")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "5")
    monkeypatch.setattr(guard, "MAX_HELD", 2 * len(scan))
    for _ in range(5):  # what was answered is held no longer
        assert predict(client, scan, "breast_2cls").status_code == 200


def test_when_too_many_wait_more_are_refused(client: TestClient, service: Service, scan: bytes) -> None:
    service._waiting = WAITING
    response = predict(client, scan, "breast_2cls")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
    assert sentence(response) == f"{WAITING} images are waiting already; try again in a second"
    service._waiting = 0
    assert predict(client, scan, "breast_2cls").status_code == 200
    text = client.get("/metrics").text
    assert "aurora_refused_total 1.0" in text
    assert 'aurora_requests_total{path="/predict",status="429"} 1.0' in text
    assert 'aurora_stage_seconds_total{stage="model"}' in text
    assert "aurora_waiting 0.0" in text


def test_a_token_is_asked_for(small_weights: Path, tmp_path: Path, scan: bytes) -> None:
    service = Service(settings(small_weights, tmp_path, token="secret"))
    service.load()
    with client_of(service) as client:
        for path in ("/health", "/", "/page/app.js"):
            assert client.get(path).status_code == 200
        for path in ("/tasks", "/metrics"):
            assert client.get(path).status_code == 401
        refused = predict(client, scan, "breast_2cls")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert client.get("/tasks", headers={"Authorization": "Bearer other"}).status_code == 401
        client.headers["Authorization"] = "Bearer secret"
        assert predict(client, scan, "breast_2cls").status_code == 200


def test_every_response_has_the_headers_of_a_careful_page(client: TestClient) -> None:
    for path in ("/", "/page/style.css", "/health", "/nothing"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_the_interface_describes_itself(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert sorted(paths) == ["/health", "/invoke", "/metrics", "/predict", "/tasks"]


def test_an_unexpected_error_is_no_trace(service: Service, scan: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.model.engine, "run", lambda *_: 1 / 0)  # type: ignore[union-attr]
    with client_of(service, raise_server_exceptions=False) as client:
        response = predict(client, scan, "breast_2cls")
        assert response.status_code == 500
        assert sentence(response) == "internal error: ZeroDivisionError; see the log of the service"
    assert service._waiting == 0


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_invocation_writes_what_a_run_does_again_and_again(
    client: TestClient, small_weights: Path, cases: Path, tmp_path: Path
) -> None:
    (tmp_path / "input").symlink_to(cases)
    expected = tmp_path / "expected"
    command = ["run", "--input", str(cases), "--output", str(expected), "--weights", str(small_weights)]
    main([*command, "--engine", "torch"], standalone_mode=False)
    for _ in range(2):
        response = client.post("/invoke")
        assert response.status_code == 201
        assert response.json()["message"].startswith("predicted 12 of 12 rows in ")
        assert content(tmp_path / "output") == content(expected)
        (tmp_path / "output" / "classification_predictions.json").unlink()


def test_an_invocation_that_fails_says_why(client: TestClient, service: Service) -> None:
    response = client.post("/invoke")
    assert response.status_code == 500
    assert "input" in sentence(response)
    with service._invoking:
        assert client.post("/invoke").status_code == 429


def test_the_page_has_the_colours_of_the_pictures() -> None:
    script = (PAGE / "app.js").read_text(encoding="utf-8")
    (stated,) = re.findall(r"^const COLOURS = (.+);$", script, re.MULTILINE)
    assert json.loads(stated) == [list(colour) for colour in COLOURS]
