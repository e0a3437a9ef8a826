"""A finished model in use tells nobody anything and leaves nothing behind: seen by the kernel."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..serve.bundles import write_bundle

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing: apt-get install strace"
)

CALLS = "connect,sendto,sendmsg,sendmmsg,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2"
FOLLOW = ("-f", "--seccomp-bpf", "-s", "300")
NETWORK = re.compile(r"(connect|send\w+)\(.*(AF_INET6?\b|sin6?_addr)")
WRITTEN = re.compile(
    r'(?:open|openat|creat)\((?:\w+, )?"([^"]*)".*(?:O_WRONLY|O_RDWR|O_CREAT)|'
    r'(?:mkdir|mkdirat|rename\w*)\((?:\w+, )?"([^"]*)"'
)
DEVICES = ("/dev/", "/proc/self/")


def trace(
    folder: Path, arguments: list[str], *, until: str | None = None
) -> tuple[str, list[str], list[str]]:
    """Run a command under strace.

    Parameters
    ----------
    folder
        Where it runs; its home folder and caches are below.
    arguments
        After ``python``.
    until
        What it prints when it is to be ended by SIGTERM; ``None``: it ends by itself.

    Returns
    -------
    What it printed, the calls by which it reached for a network, and what it wrote.
    """
    log = folder / "trace.txt"
    # Whoever calls may have it set; here it must be burnish that does it.
    unset = {"ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "PYTEST_CURRENT_TEST", "CI"}
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    started = subprocess.Popen(
        ["strace", *FOLLOW, f"--trace={CALLS}", "-o", log, sys.executable, *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    printed = ""
    if until is not None:
        for line in started.stdout:
            printed += line
            if until in line:
                break
        os.killpg(started.pid, signal.SIGTERM)
    printed += started.communicate(timeout=120)[0]
    calls = log.read_text(encoding="utf-8", errors="replace").splitlines()
    assert any("onnxruntime" in call for call in calls), "nothing was traced"
    found = (WRITTEN.search(call) for call in calls if " = -1 " not in call)
    written = [match[1] or match[2] for match in found if match is not None]
    reached = [call for call in calls if NETWORK.search(call)]
    return printed, reached, [path for path in written if not path.startswith(DEVICES)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a bundle and an image in it."""
    write_bundle(tmp_path / "model")
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "image.png")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "burnish", "predict", "model", "image.png"],
        ["-c", "import burnish; print(burnish.load('model').predict('image.png').labels[0])"],
    ],
)
def test_a_prediction_opens_no_connection_and_writes_nothing(
    place: Path, arguments: list[str]
) -> None:
    printed, reached, written = trace(place, arguments)
    assert "band" in printed
    assert (reached, written) == ([], [])
    assert not (place / "cache").exists()


def test_a_server_writes_nothing_and_connects_to_nobody(place: Path) -> None:
    arguments = ["-m", "burnish", "serve", "model", "--port", "0"]
    printed, reached, written = trace(place, arguments, until="Ctrl-C")
    assert "http://127.0.0.1:" in printed
    assert (reached, written) == ([], [])
    assert not (place / "cache").exists()
