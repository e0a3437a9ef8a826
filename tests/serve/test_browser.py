"""The page in a real browser, with real events of mouse, finger and keyboard."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from burnish.bundle.model import Model, load
from burnish.image import InputSpec
from burnish.serve import Limits

from .browser import Browser, Page, Point, find_chromium, open_browser
from .bundles import draw_band, serve_in_thread, write_bundle, write_image

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"
)


def ring(x: float, y: float, width: float, height: float) -> list[Point]:
    """A closed curve, begun at the top."""
    turns = [2 * math.pi * part / 24 for part in range(25)]
    return [(x - width * math.sin(turn), y - height * math.cos(turn)) for turn in turns]


# fmt: off
DIGITS: dict[str, list[list[Point]]] = {
    "0": [ring(0.5, 0.5, 0.2, 0.32)],
    "1": [[(0.52, 0.18), (0.48, 0.82)]],
    "2": [
        [(0.3, 0.34), (0.36, 0.22), (0.5, 0.17), (0.64, 0.23), (0.67, 0.37), (0.56, 0.55),
         (0.42, 0.68), (0.29, 0.81), (0.5, 0.8), (0.73, 0.8)]
    ],
    "3": [
        [(0.33, 0.23), (0.48, 0.17), (0.63, 0.22), (0.65, 0.34), (0.57, 0.44), (0.45, 0.48),
         (0.6, 0.53), (0.68, 0.64), (0.64, 0.77), (0.5, 0.83), (0.32, 0.78)]
    ],
    "4": [[(0.36, 0.2), (0.3, 0.53), (0.72, 0.53)], [(0.63, 0.22), (0.6, 0.85)]],
    "5": [
        [(0.68, 0.2), (0.4, 0.2), (0.36, 0.46), (0.52, 0.43), (0.65, 0.52), (0.67, 0.67),
         (0.58, 0.8), (0.45, 0.83), (0.32, 0.77)]
    ],
    "7": [[(0.3, 0.22), (0.7, 0.21), (0.57, 0.5), (0.46, 0.83)]],
}
# fmt: on

NOTHING = "\u2013"
"""What stands for the label where there is none."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with open_browser(CHROMIUM) as one:
        yield one


@pytest.fixture(scope="module")
def digits_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page to draw on, whose model tells bands of ink apart: it needs no training."""
    names = [str(number) for number in range(10)]
    spec = InputSpec(28, 28, "grey", recipe="digit")
    folder = write_bundle(tmp_path_factory.mktemp("bands"), "bands", spec, names)
    with serve_in_thread(load(folder), Limits()) as address:
        yield address


def read_label(page: Page) -> str:
    label: str = page.evaluate("document.getElementById('label').textContent")
    return label


def wait_for_answer(page: Page) -> str:
    """Wait until the answer to the last picture is shown."""
    # The page hears of what was drawn no later than at its next frame.
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))")
    page.wait_for(
        "document.getElementById('bars').ariaBusy === 'false' &&"
        f"document.getElementById('label').textContent !== '{NOTHING}'"
    )
    return read_label(page)


def test_drawn_digits_are_recognised(browser: Browser, mnist_model: Path) -> None:
    with serve_in_thread(load(mnist_model, threads=1), Limits()) as address:
        page = browser.open(address)
        found = {}
        for digit, strokes in DIGITS.items():
            page.draw("#pad", strokes)
            found[digit] = wait_for_answer(page)
            page.click("#clear")
            assert read_label(page) == NOTHING
        assert found == {digit: digit for digit in DIGITS}
        assert page.complaints() == []


def test_the_page_asks_for_nothing_outside_and_breaks_no_rule(
    browser: Browser, digits_address: str
) -> None:
    page = browser.open(digits_address)
    page.draw("#pad", DIGITS["7"])
    wait_for_answer(page)
    addresses = page.addresses()
    assert f"{digits_address}/predict?seen=1&top=10" in addresses
    assert all(one.startswith((digits_address, "data:image/png")) for one in addresses)
    assert page.complaints() == []


def test_bars_and_the_picture_that_the_model_saw_are_shown(
    browser: Browser, digits_address: str
) -> None:
    page = browser.open(digits_address)
    page.draw("#pad", DIGITS["7"])
    label = wait_for_answer(page)
    rows = page.evaluate(
        "[...document.querySelectorAll('#bars tr')].map((row) => "
        "[row.className, row.cells[0].textContent, "
        "parseFloat(row.querySelector('.fill').style.width)])"
    )
    assert [name for _, name, _ in rows] == [str(number) for number in range(10)]
    widest = max(rows, key=lambda row: row[2])
    assert widest[:2] == ["first", label]
    seen = page.evaluate(
        "(({naturalWidth, naturalHeight, hidden}) => [naturalWidth, naturalHeight, hidden])"
        "(document.getElementById('seen'))"
    )
    assert seen == [28, 28, False]


def test_where_there_is_no_ink_the_page_says_so(
    browser: Browser, digits_address: str, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.png"
    empty.write_bytes(write_image(np.full((60, 60), 255, np.uint8)))
    page = browser.open(digits_address)
    page.draw("#pad", DIGITS["7"])
    wait_for_answer(page)
    page.choose_file("#file-digit", empty)
    sure = "document.getElementById('sure').textContent"
    page.wait_for(f"{sure} === 'no ink was found in the image'")
    assert read_label(page) == NOTHING
    widths = page.evaluate(
        "[...document.querySelectorAll('#bars .fill')].map((one) => one.style.width)"
    )
    assert set(widths) == {"0px"}
    page.wait_for("document.getElementById('spoken').textContent.startsWith('no ink')")
    page.draw("#pad", DIGITS["7"])
    assert wait_for_answer(page) != NOTHING
    assert page.complaints() == []


def test_undo_takes_one_stroke_back_and_clear_all(browser: Browser, digits_address: str) -> None:
    page = browser.open(digits_address)
    ink = "new Set(document.getElementById('pad').getContext('2d').getImageData(0,0,560,560).data)"
    for stroke in DIGITS["4"]:
        page.draw("#pad", [stroke])
    wait_for_answer(page)
    page.click("#undo")
    assert page.evaluate(f"{ink}.size") > 1
    assert wait_for_answer(page) != NOTHING
    page.click("#undo")
    assert page.evaluate(f"{ink}.size") == 1
    assert read_label(page) == NOTHING
    assert page.evaluate("document.getElementById('undo').disabled")
    page.draw("#pad", DIGITS["4"])
    page.click("#clear")
    assert page.evaluate(f"{ink}.size") == 1


def test_a_finger_draws_on_a_phone(browser: Browser, digits_address: str) -> None:
    page = browser.open(digits_address)
    page.resize(390, 844, phone=True)
    page.draw("#pad", DIGITS["7"], touch=True)
    wait_for_answer(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("scrollY") == 0  # Drawing does not scroll the page.
    sizes = page.evaluate(
        "[...document.querySelectorAll('button, .button')].filter((one) => one.offsetParent)"
        ".map((one) => one.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 44


def test_the_keyboard_alone_draws_undoes_and_clears(browser: Browser, digits_address: str) -> None:
    page = browser.open(digits_address)
    for _ in range(6):
        page.press("Tab")
        if page.evaluate("document.activeElement.id") == "pad":
            break
    assert page.evaluate("document.activeElement.id") == "pad"
    page.press("ArrowUp", 5)
    page.press(" ")
    page.press("ArrowDown", 10)
    page.press(" ")
    first = wait_for_answer(page)
    page.wait_for("document.getElementById('spoken').textContent !== ''")
    assert page.evaluate("document.getElementById('spoken').textContent").startswith(first)
    page.press("ArrowRight", 3)
    page.press(" ")
    page.press("ArrowUp", 3, shift=True)
    page.press("Backspace")
    assert wait_for_answer(page) == first
    page.press("Escape")
    assert read_label(page) == NOTHING


def test_an_image_is_opened_or_dropped_on_the_drawing_area(
    browser: Browser, digits_address: str, tmp_path: Path
) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(write_image(draw_band(2, 60, 60)))
    page = browser.open(digits_address)
    page.choose_file("#file-digit", path)
    opened = wait_for_answer(page)
    page.click("#undo")
    assert read_label(page) == NOTHING
    page.drop_file("#pad", path)
    assert wait_for_answer(page) == opened
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    page.choose_file("#file-digit", bad)
    page.wait_for("document.getElementById('status').textContent.includes('bad.png')")


def test_other_models_get_a_page_to_upload_on(
    browser: Browser, bands: Model, tmp_path: Path
) -> None:
    path = tmp_path / "photo.webp"  # Not a format that the server takes: the page converts it.
    path.write_bytes(write_image(draw_band(6, 3_000, 2_000), "WEBP"))
    with serve_in_thread(bands, Limits()) as address:
        page = browser.open(address)
        assert page.evaluate("document.getElementById('pad').offsetParent") is None
        page.choose_file("#file-plain", path)
        assert wait_for_answer(page) == "band 6"
        assert page.evaluate("document.getElementById('preview').alt") == "photo.webp"
        assert page.complaints() == []


def test_the_page_says_that_the_server_has_gone(
    browser: Browser, bands: Model, tmp_path: Path
) -> None:
    path = tmp_path / "six.png"
    path.write_bytes(write_image(draw_band(6)))
    with serve_in_thread(bands, Limits()) as address:
        page = browser.open(address)
    page.choose_file("#file-plain", path)
    page.wait_for("document.getElementById('status').textContent === 'The server does not answer.'")


ASK = """
fetch("%s/predict", {method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({image: "%s"})})
  .then((answer) => answer.json()).then((said) => said.label, (error) => error.name)
"""


def test_a_page_of_another_origin_reads_the_answer_where_it_is_allowed_alone(
    browser: Browser, bands: Model, tmp_path: Path
) -> None:
    """A site of its own asks, with a preflight since it sends JSON."""
    (tmp_path / "index.html").write_text("<!doctype html><title>site</title>", "utf-8")
    image = base64.b64encode(write_image(draw_band(3))).decode()
    with serve_folder(tmp_path) as site:
        page = browser.open(site)
        with serve_in_thread(bands, Limits(origins=frozenset({site}))) as open_to_it:
            assert page.evaluate(ASK % (open_to_it, image)) == "band 3"
        with serve_in_thread(bands, Limits()) as closed:
            assert page.evaluate(ASK % (closed, image)) == "TypeError"


@contextlib.contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve files as any other web server does."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
