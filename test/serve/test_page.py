"""The page in a real browser: choose an image, see the answer, and nothing from elsewhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from serve.conftest import running
from support.small_weights import TASKS

PNG = b"\x89PNG\r\n"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")


@pytest.fixture(scope="module")
def address(small_weights: Path) -> Iterator[str]:
    with running("--weights", small_weights, "--engine", "torch") as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, at the width of a phone; it fails a test whose page logs a message or asks another host."""
    heard: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            heard.append(request.url)

    context = browser.new_context(viewport={"width": 390, "height": 844}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", asked)
    page.goto(address)
    page.wait_for_selector("#tasks input")
    yield page
    context.close()
    assert heard == []


def upload(page: Page, content: bytes, name: str = "scan.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": content})


def colours(page: Page) -> int:
    """The number of pixels on the canvas that aren't grey."""
    return page.evaluate(
        """() => {
          const {width, height} = document.getElementById("canvas");
          const {data} = document.getElementById("canvas").getContext("2d").getImageData(0, 0, width, height);
          let coloured = 0;
          for (let i = 0; i < data.length; i += 4) {
            coloured += Math.abs(data[i] - data[i + 2]) > 40;
          }
          return coloured;
        }"""
    )


def predict(page: Page, *tasks: str) -> None:
    for task in tasks:
        page.check(f'input[value="{task}"]')
    page.click("#go")
    page.wait_for_selector("#results:not([hidden])")


def test_an_image_is_chosen_and_its_answers_are_drawn(page: Page, scan: bytes) -> None:
    assert page.is_disabled("#go")
    upload(page, scan)
    assert page.is_disabled("#go")  # no task yet
    predict(page, *TASKS)
    assert page.inner_text("#status") == "Done."
    assert page.evaluate("document.activeElement.id") == "results-title"
    assert {text.partition(":")[0] for text in page.locator("#answers h3").all_inner_texts()} == set(TASKS)
    assert page.locator("#answers meter").count() == 2
    assert colours(page) > 0
    page.fill("#opacity", "0")
    outlines = colours(page)
    page.fill("#opacity", "100")
    assert colours(page) > outlines
    for layer in page.locator("#layers input").all():
        layer.uncheck()
    assert colours(page) == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_frames_of_a_cine_are_seen_with_a_slider_and_a_curve(page: Page, animation: bytes) -> None:
    upload(page, animation, "beat.gif")
    page.select_option("#frames", "all")
    predict(page, "cervix_multi", "breast_2cls")
    assert page.inner_text("#frame-number") == "0"
    first = page.evaluate("document.getElementById('canvas').toDataURL()")
    page.fill("#frame", "4")
    expect(page.locator("#frame-number")).to_have_text("4")
    assert page.evaluate("document.getElementById('canvas').toDataURL()") != first
    assert page.locator("#curve path.line").get_attribute("d")
    label = page.locator("#curve svg").get_attribute("aria-label")
    page.select_option("#quantity", "breast_2cls: confidence")
    assert page.locator("#curve svg").get_attribute("aria-label") != label
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert Axe().run(page)["violations"] == []


@pytest.mark.parametrize("place", ["#drop", "h1"])
def test_an_image_may_be_dropped_anywhere(page: Page, scan: bytes, tmp_path: Path, place: str) -> None:
    (tmp_path / "dropped.png").write_bytes(scan)
    found = page.locator(place).bounding_box()
    assert found
    data = {"items": [], "files": [str(tmp_path / "dropped.png")], "dragOperationsMask": 1}
    mouse = page.context.new_cdp_session(page)
    where = {"x": found["x"] + found["width"] / 2, "y": found["y"] + found["height"] / 2}
    # As a mouse does: at a place, whatever is there by then.
    for kind, marked in (("dragEnter", 0), ("dragOver", 1), ("dragOver", 1), ("drop", 0)):
        mouse.send("Input.dispatchDragEvent", {"type": kind, "data": data, **where})
        expect(page.locator("#drop.over")).to_have_count(marked)
    assert page.inner_text("#chosen") == "dropped.png"
    predict(page, "breast_2cls")


def test_only_a_service_with_a_token_asks_for_it(browser: Browser, page: Page, small_weights: Path) -> None:
    assert page.is_hidden("#token")
    with running("--weights", small_weights, "--engine", "torch", "--token", "secret") as (guarded, _):
        other = browser.new_context().new_page()
        other.goto(guarded)
        other.wait_for_selector("#token")
        other.fill("#token", "secret")
        other.press("#token", "Tab")
        other.wait_for_selector("#tasks input")


def test_the_picture_the_masks_and_the_record_can_be_saved(page: Page, scan: bytes, tmp_path: Path) -> None:
    upload(page, scan)
    predict(page, "cervix_multi")
    for button, begin in (("#save-picture", PNG), ("#save-masks", PNG), ("#save-record", b"[\n  {")):
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes().startswith(begin)


def test_the_page_works_by_keyboard_alone(page: Page, scan: bytes) -> None:
    upload(page, scan)
    page.focus("#file")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "task"
    page.keyboard.press("Space")
    page.focus("#go")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results:not([hidden])")


def test_every_control_has_a_label(page: Page) -> None:
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, button, canvas")]
          .filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).map(e => e.id)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(page: Page, scan: bytes, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    upload(page, scan)
    predict(page, *TASKS)
    found = Axe().run(page)["violations"]
    assert [(item["id"], item["impact"], [node["html"] for node in item["nodes"]]) for item in found] == []


def test_a_request_can_be_tried_on_the_page_of_requests(page: Page, address: str) -> None:
    page.goto(f"{address}/api")
    page.click("text=The tasks that the weights know")
    page.click("text=Execute")
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    assert next(iter(TASKS)) in page.inner_text(".live-responses-table")


def test_what_went_wrong_is_said_in_words(browser: Browser, address: str) -> None:
    page = browser.new_context().new_page()  # whose console names the refused request
    page.goto(address)
    page.wait_for_selector("#tasks input")
    upload(page, b"plain text", "scan.png")
    page.check('input[value="breast_2cls"]')
    page.click("#go")
    page.wait_for_selector("#status.bad")
    assert page.inner_text("#status").startswith("no prediction: the image ")
    assert page.is_hidden("#results")
