"""The walk through docs/own-data.md, on generated images: its commands are run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from burnish.cli import app

DOCUMENT = Path(__file__).parents[1] / "docs" / "own-data.md"

# What makes the study that `init` wrote small enough for a test; the commands stay as they are.
SMALL = {
    "training.max_epochs": "10",
    "head.trials": "2",
    "last-blocks.training.max_epochs": "1",
    "last-blocks.params.views": "1",
}


def write_photos(root: Path) -> None:
    """Three classes that differ by the form of a bright blob, not by its colour or place."""
    generator = np.random.default_rng(8)
    y, x = np.mgrid[:24, :24]
    for number in range(750):
        label = ("cat", "dog", "owl")[number % 3]
        cy, cx = generator.uniform(9, 15, 2)
        distance = np.hypot(y - cy, x - cx)
        form = {
            "cat": distance < 7,
            "dog": (distance > 4.5) & (distance < 8),
            "owl": (np.minimum(abs(y - cy), abs(x - cx)) < 1.8) & (distance < 9),
        }[label]
        ground = generator.uniform(0, 60, (24, 24, 3))
        pixels = ground + form[..., None] * generator.uniform(80, 190, 3)
        path = root / label / f"{number // 3:03d}.{('png', 'jpg')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)


def commands_of(document: Path) -> list[list[str]]:
    text = document.read_text(encoding="utf-8")
    return [shlex.split(line) for line in re.findall(r"^    (burnish .*)$", text, re.MULTILINE)]


def test_the_document_shows_every_step() -> None:
    steps = [command[1] for command in commands_of(DOCUMENT)]
    assert steps == ["check", "init", "plan", "run", "labels", "predict", "export", "serve"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `photos/`, in which the commands are run."""
    write_photos(tmp_path / "photos")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_walk_from_a_folder_of_images_to_a_served_model(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.planning.forecast.SAMPLES", 1)
    outputs = {}
    for command in commands_of(DOCUMENT):
        step, *arguments = command[1:]
        if step == "run":
            # Its minutes are the reader's; here the study is made small instead.
            arguments = arguments[: arguments.index("--minutes")]
        if step in {"plan", "run"}:
            arguments += [w for key, value in SMALL.items() for w in ("--set", f"{key}={value}")]
        if step == "serve":
            outputs[step] = ask_server(arguments, place / "photos" / "dog" / "002.jpg")
            continue
        result = CliRunner().invoke(app, [step, *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        outputs[step] = result.output

    assert len(list((place / "sheets").glob("*.png"))) == 3
    assert "photos.toml" in outputs["init"]
    final = json.loads(next((place / "runs/photos/stages").glob("*final/result.json")).read_text())
    assert final["test"]["accuracy"] > 0.95
    assert "cat" in outputs["predict"]
    assert (place / "photos.onnx").stat().st_size > 10_000
    assert json.loads(outputs["serve"])["label"] == "dog"


def ask_server(arguments: list[str], image: Path) -> str:
    """Start the server on a free port, send it an image, and stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "burnish", "serve", *arguments, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/v2/health/ready").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        return httpx.post(f"{url}/predict", content=image.read_bytes()).raise_for_status().text
    finally:
        server.terminate()
        output, _ = server.communicate(timeout=15)
        assert server.returncode == 0, output
