"""A script, ``python -c`` and the kernel of a notebook: no guard, and an interrupt that keeps."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import burnish

from .studies import TINY

PROGRAM = """
import burnish
print("begins")
run = burnish.run("tiny.toml", workers=2, report=False)
print(len(run.stages["search"].trials), run.state)
"""
ENDLESS = """
import burnish
values = {"fnn.training": {"max_epochs": 100000}, "training.patience": 100000}
burnish.run("tinier.toml", values=values, report=False)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder with two studies."""
    burnish.Study.from_dict(TINY).write(tmp_path / "tiny.toml")
    fit = {"name": "fnn", "kind": "train", "model": "fnn"}
    stages = {"stage": [fit, TINY["stage"][-1]]}
    burnish.Study.from_dict({**TINY, **stages}).write(tmp_path / "tinier.toml")
    return tmp_path


@pytest.mark.parametrize("way", ["script", "-c"])
def test_no_guard_is_needed(way: str, place: Path) -> None:
    (place / "script.py").write_text(PROGRAM, encoding="utf-8")
    arguments = ["script.py"] if way == "script" else ["-c", PROGRAM]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**os.environ, "XDG_CACHE_HOME": str(place / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "begins"
    assert lines.count("begins") == 1
    assert lines[-1] == "2 done"
    assert "model:  runs/tiny/model" in lines


class Kernel:
    """The kernel of a notebook."""

    def __init__(self, place: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(
            kernel_name="python3",
            cwd=str(place),
            extra_arguments=["--log-level=50"],
        )

    def begin(self, code: str) -> Iterator[tuple[str, Any]]:
        """Yield what a cell says: kind and content of each message."""
        number = self.client.execute(code)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != number:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return
            yield kind, content
        raise TimeoutError(code)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def test_the_stop_button_ends_a_run_at_once_and_keeps_what_there_is(place: Path) -> None:
    """It takes some seconds: a kernel is started, and loads TensorFlow."""
    kernel = Kernel(place)
    try:
        said: list[tuple[str, Any]] = []
        for kind, content in kernel.begin(ENDLESS):
            said.append((kind, content))
            if [kind for kind, _ in said].count("update_display_data") == 2:
                kernel.manager.interrupt_kernel()
        kinds = [kind for kind, _ in said]
        # A bar that was redrawn in place, and is gone at the end.
        assert kinds.count("display_data") == 1
        bars = [content["data"] for kind, content in said if kind == "update_display_data"]
        assert "epoch" in bars[0]["text/html"]
        assert bars[-1]["text/html"] == ""
        errors = [content["ename"] for kind, content in said if kind == "error"]
        assert errors == ["KeyboardInterrupt"]
        texts = [content["text"] for kind, content in said if kind == "stream"]
        assert "note: stopped; burnish.open('runs/tiny') has what was recorded" in "".join(texts)
        shown = dict(kernel.begin("run = burnish.open('runs/tiny'); run"))
        data = shown["execute_result"]["data"]
        assert data["text/plain"] == "<Run 'tiny' in runs/tiny: interrupted, 0 of 2 stages>"
        assert "The test split is sealed." in data["text/html"]
    finally:
        kernel.close()
