"""Chromium without a window, driven over the Chrome DevTools Protocol through pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TIMEOUT = 30.0

Point = tuple[float, float]


def find_chromium() -> str | None:
    """The browser's command, if one is installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


@contextlib.contextmanager
def open_browser(command: str) -> Iterator[Browser]:
    """Start a browser with an empty profile; it is killed at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_browser, from_browser = os.pipe(), os.pipe()

        def connect() -> None:
            # The protocol's pipes are file descriptors 3 and 4; what lies there goes first.
            read, write = os.dup(to_browser[0]), os.dup(from_browser[1])
            while min(read, write) < 5:
                read, write = os.dup(read), os.dup(write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        process = subprocess.Popen(
            [
                command,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=connect,
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        try:
            yield Browser(to_browser[1], from_browser[0])
        finally:
            process.kill()
            process.wait()
            os.close(to_browser[1])
            os.close(from_browser[0])


class Browser:
    """A browser; :meth:`open` gives pages."""

    def __init__(self, write_to: int, read_from: int) -> None:
        self._write_to = write_to
        self._read_from = read_from
        self._unread = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def open(self, url: str, width: int = 1000, height: int = 760, *, dark: bool = False) -> Page:
        """Open a page, and wait until it has loaded."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, session["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        page.call("Emulation.setEmulatedMedia", {"features": features})
        page.call("Page.navigate", {"url": url})
        page.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")
        return page

    def call(
        self, method: str, params: dict[str, Any] | None = None, session: str | None = None
    ) -> dict[str, Any]:
        """Send a command, and wait for its result; events on the way are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write_to, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._read_from], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            part = os.read(self._read_from, 1 << 20)
            assert part, "the browser has ended"
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


class Page:
    """A page: what a person does on it, and what it shows."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._browser.call(method, params, self._session)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", metrics)
        self.call("Emulation.setTouchEmulationEnabled", {"enabled": phone})

    def evaluate(self, expression: str) -> Any:
        result = self.call(
            "Runtime.evaluate",
            {"expression": expression, "returnByValue": True, "awaitPromise": True},
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """Errors of the page: exceptions, the console, what its policy forbade."""
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"])
        return found

    def addresses(self) -> list[str]:
        """Every address that the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event.get("sessionId") == self._session
            and event["method"] == "Network.requestWillBeSent"
        ]

    def locate(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element on the screen."""
        box = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({block: 'nearest'});"
            "const b = one.getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        left, top, width, height = map(float, box)
        return left, top, width, height

    def click(self, selector: str) -> None:
        left, top, width, height = self.locate(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self._mouse(kind, (left + width / 2, top + height / 2), buttons=1)

    def draw(
        self, selector: str, strokes: Sequence[Sequence[Point]], *, touch: bool = False
    ) -> None:
        """Draw strokes on an element, given in parts of its width and height."""
        left, top, width, height = self.locate(selector)
        for stroke in strokes:
            points = [(left + x * width, top + y * height) for x, y in _fill(stroke)]
            if touch:
                self._touch("touchStart", points[0])
                for point in points[1:]:
                    self._touch("touchMove", point)
                self._touch("touchEnd", None)
            else:
                self._mouse("mousePressed", points[0], buttons=1)
                for point in points[1:]:
                    self._mouse("mouseMoved", point, buttons=1)
                self._mouse("mouseReleased", points[-1], buttons=0)

    def press(self, key: str, times: int = 1, *, shift: bool = False) -> None:
        """Press a key, as its ``KeyboardEvent.key`` is called."""
        params: dict[str, Any] = {"key": key, "modifiers": 8 if shift else 0}
        if key == "Tab":
            params |= {"code": "Tab", "windowsVirtualKeyCode": 9}
        if key == "Enter":
            params |= {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        if key == " ":
            params |= {"code": "Space", "windowsVirtualKeyCode": 32, "text": " "}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", {"type": "keyDown", **params})
            self.call("Input.dispatchKeyEvent", {"type": "keyUp", **params})

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.call("DOM.setFileInputFiles", {"files": [str(path)], "nodeId": node})

    def drop_file(self, selector: str, path: Path) -> None:
        left, top, width, height = self.locate(selector)
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call(
                "Input.dispatchDragEvent",
                {
                    "type": kind,
                    "x": left + width / 2,
                    "y": top + height / 2,
                    "data": {"items": [], "files": [str(path)], "dragOperationsMask": 1},
                },
            )

    def take_picture(self, path: Path) -> None:
        """Write a PNG of what the page shows, all of its height."""
        height = self.evaluate("document.documentElement.scrollHeight")
        width = self.evaluate("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        picture = self.call("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(picture["data"]))

    def _mouse(self, kind: str, point: Point, *, buttons: int) -> None:
        self.call(
            "Input.dispatchMouseEvent",
            {
                "type": kind,
                "x": point[0],
                "y": point[1],
                "button": "left",
                "buttons": buttons,
                "clickCount": 1,
            },
        )

    def _touch(self, kind: str, point: Point | None) -> None:
        points = [] if point is None else [{"x": point[0], "y": point[1]}]
        self.call("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def _fill(stroke: Sequence[Point], number: int = 6) -> list[Point]:
    """Points along a smooth curve through those of a stroke, as a hand would move.

    The curve is a Catmull-Rom spline, ``number`` points a segment.
    """
    curve = [stroke[0]]
    around = [stroke[0], *stroke, stroke[-1]]
    for before, start, end, after in zip(around, around[1:], around[2:], around[3:], strict=False):
        for part in range(1, number + 1):
            at = part / number
            weights = (
                -0.5 * at**3 + at**2 - 0.5 * at,
                1.5 * at**3 - 2.5 * at**2 + 1,
                -1.5 * at**3 + 2 * at**2 + 0.5 * at,
                0.5 * at**3 - 0.5 * at**2,
            )
            four = (before, start, end, after)
            x = sum(weight * point[0] for weight, point in zip(weights, four, strict=True))
            y = sum(weight * point[1] for weight, point in zip(weights, four, strict=True))
            curve.append((x, y))
    return curve
