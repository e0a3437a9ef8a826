"""The picture at the head of the README: a study in the terminal, then its drawing page, as a GIF.

    python docs/record.py runs/mnist

It runs `burnish run digits` in a terminal that is emulated (pyte), and draws digits on the page of
`burnish serve` in a headless Chromium, with the model of a finished run. Time is shortened: a frame
for each change that one can see. Needs the extra `docs`, and Chromium.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pyte
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.serve.browser import Point, find_chromium, open_browser  # noqa: E402

WIDTH, HEIGHT = 900, 520
COLUMNS, ROWS = 96, 26
FONT_SIZE = 15
MARGIN = 16
PAUSE = 1_800
"""Milliseconds that the last frame of each half stands."""

GROUND, INK = "#10191c", "#d8e2e0"
COLORS = {"red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "cyan": "#76e3ea"}

Frame = tuple[Image.Image, int]
"""A picture, and how many milliseconds it stands."""


def record_terminal(command: list[str], folder: Path) -> Iterator[Frame]:
    """Run a command in a terminal of its own, and yield what one sees."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    typed = "$ burnish run digits"
    for length in (2, 9, 13, len(typed)):
        stream.feed(b"\r" + typed[:length].encode())
        yield draw_screen(screen), 220
    stream.feed(b"\r\n")
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        environment = {**os.environ, "TERM": "xterm-256color"}
        environment |= {"COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        os.execve(command[0], command, environment)
    shown, last = "", 0.0
    while True:
        ready, _, _ = select.select([terminal], [], [], 1.0)
        if not ready:
            continue
        try:
            content = os.read(terminal, 2**16)
        except OSError:  # The command has ended.
            break
        if not content:
            break
        stream.feed(content)
        now = "\n".join(screen.display)
        if now != shown and time.monotonic() - last > 0.7:
            shown, last = now, time.monotonic()
            yield draw_screen(screen), 160
    os.waitpid(child, 0)
    yield draw_screen(screen), PAUSE


def draw_screen(screen: pyte.Screen) -> Image.Image:
    """Draw what a terminal shows."""
    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(image)
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(str(fonts / "DejaVuSansMono.ttf"), FONT_SIZE)
    step = font.getlength("m")
    line = (HEIGHT - 2 * MARGIN) / ROWS
    for row in range(ROWS):
        for column, cell in screen.buffer[row].items():
            if cell.data.strip():
                color = COLORS.get(cell.fg, INK)
                place = (MARGIN + column * step, MARGIN + row * line)
                draw.text(place, cell.data, color, font)
    return image


def ring(x: float, y: float, width: float, height: float) -> list[Point]:
    """Return a closed curve, begun at the top."""
    turns = [2 * math.pi * part / 24 for part in range(25)]
    return [(x - width * math.sin(turn), y - height * math.cos(turn)) for turn in turns]


# fmt: off
DIGITS: list[list[list[Point]]] = [
    [[(0.36, 0.2), (0.3, 0.53), (0.72, 0.53)], [(0.63, 0.22), (0.6, 0.85)]],
    [ring(0.5, 0.33, 0.14, 0.15), ring(0.5, 0.66, 0.18, 0.18)],
    [[(0.3, 0.22), (0.7, 0.21), (0.57, 0.5), (0.46, 0.83)]],
]
# fmt: on


def record_page(run: Path) -> Iterator[Frame]:
    """Draw digits on the page of `burnish serve`, and yield what one sees."""
    command = [str(Path(sys.executable).with_name("burnish")), "serve", str(run), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().split()[1]
    chromium = find_chromium()
    assert chromium is not None, "Chromium is not installed"
    try:
        with open_browser(chromium) as browser:
            page = browser.open(address, WIDTH, HEIGHT)
            for strokes in DIGITS:
                page.press("Escape")
                page.evaluate("document.getElementById('clear')?.click()")
                for stroke in strokes:
                    for length in range(2, len(stroke) + 1, max(1, len(stroke) // 4)):
                        page.draw("#pad", [stroke[max(0, length - 8) : length]])
                        yield take_picture(page), 90
                time.sleep(0.4)
                yield take_picture(page), PAUSE // 2
    finally:
        server.terminate()
        server.wait()


def take_picture(page: object) -> Image.Image:
    """Return what a page shows, without what lies below."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.png"
        page.take_picture(path)  # type: ignore[attr-defined]
        picture = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    scale = WIDTH / picture.width
    picture = picture.resize((WIDTH, round(picture.height * scale)), Image.Resampling.LANCZOS)
    return picture.crop((0, 0, WIDTH, HEIGHT))


def main() -> None:
    """Record both, and write the GIF."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run of MNIST")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "burnish.gif")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    burnish = str(Path(sys.executable).with_name("burnish"))
    frames = list(record_terminal([burnish, "run", "digits"], folder))
    frames += list(record_page(arguments.run))
    shutil.rmtree(folder)
    # One palette for all keeps colours still from frame to frame.
    palette = frames[-1][0].quantize(64)
    pictures = [
        frame.quantize(64, palette=palette, dither=Image.Dither.NONE) for frame, _ in frames
    ]
    pictures[0].save(
        arguments.out,
        save_all=True,
        append_images=pictures[1:],
        duration=[milliseconds for _, milliseconds in frames],
        loop=0,
        optimize=True,
    )
    print(f"{arguments.out}: {len(frames)} frames, {arguments.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
