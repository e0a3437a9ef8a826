"""The page of a run while it goes on: served on this machine, updating by itself.

It only reads the run folder: closing it, or asking it for anything, cannot harm the run.
"""

from __future__ import annotations

import calendar
import io
import json
import sys
import time
import tomllib
import zipfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from burnish.errors import BurnishError, RunFolderError
from burnish.files import read_json, read_sealed
from burnish.hosts import explain_foreign
from burnish.report.drawing.figure_set import FigureSet
from burnish.report.formatting import show_duration
from burnish.report.page import find_version, render_page, render_waiting
from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder, read_trials

HOST = "127.0.0.1"
"""Nobody outside this machine is answered."""

SHOWN_TRIALS = 12


class Watcher(ThreadingHTTPServer):
    """Serves the page of one run.

    Parameters
    ----------
    run
        The run folder.
    port
        Of this machine; 0 takes one that is free.

    Raises
    ------
    RunFolderError
        If the folder is no run, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, run: RunFolder, port: int = 0) -> None:
        run.check()
        self.run = run
        self._lock = Lock()
        self._page: tuple[str, bytes] = ("", b"")
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise RunFolderError(
                f"port {port} cannot be served: {error.strerror or error}. "
                "Choose another with --port."
            ) from error

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def page(self) -> bytes:
        """Return the page; it is drawn again when there is more to show."""
        with self._lock:
            version = find_version(self.run)
            if self._page[0] != version:
                self._page = (version, self._draw().encode(errors="backslashreplace"))
            return self._page[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of readers that leave in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def _draw(self) -> str:
        if any(record.kind != "final" for record in self.run.stages()):
            return render_page(self.run, FigureSet(png=False), live=True)
        return render_waiting(self.run)


def describe_live(run: RunFolder) -> dict[str, Any]:
    """Describe what goes on in a run.

    Returns
    -------
    ``version`` (changes when there is more to report), ``state``, ``said`` (a sentence),
    ``share`` (0 to 1, of the present stage), ``stages`` (as ``burnish status`` has them),
    ``trials`` (the last ones of the present stage) and ``history`` (of its own fit so far).
    """
    status = describe_run(run)
    stages = status["stages"]
    now = next((s for s in stages if s["state"] == "running"), None)
    found: dict[str, Any] = {
        "version": find_version(run),
        "state": status["state"],
        "stages": stages,
        "said": _describe_end(status),
        "share": 1.0 if status["state"] == "done" else 0.0,
        "trials": [],
        "history": [],
    }
    if now is None:
        return found
    number = stages.index(now) + 1
    stage_dir = run.stage(number, now["name"])
    trials = read_trials(stage_dir) if now["kind"] == "tune" else []
    found["history"] = _read_own_history(stage_dir)
    done = _count_epochs(trials, _read_table(run, number)) + _count_own(stage_dir, found["history"])
    begun = read_json(stage_dir / "begun.json") if (stage_dir / "begun.json").exists() else {}
    found["share"] = min(1.0, done / begun["epochs"]) if begun.get("epochs") else 0.0
    found["trials"] = [
        {key: trial[key] for key in ("number", "state", "epochs", "loss", "params")}
        for trial in trials[: -SHOWN_TRIALS - 1 : -1]
    ]
    to_come = len(stages) - number
    found["said"] = (
        f"Stage {number} of {len(stages)}, {now['name']}: "
        f"{_describe_left(begun, found['share'])}; {to_come} "
        f"stage{'s' if to_come != 1 else ''} to come."
    )
    return found


def _describe_end(status: Mapping[str, Any]) -> str:
    words = {
        "done": "The run is done.",
        "interrupted": "The run was stopped; the same command goes on with it.",
        "failed": f"The run has failed: {status['error']}",
    }
    return words.get(status["state"], "The run prepares its next stage.")


def _describe_left(begun: Mapping[str, Any], share: float) -> str:
    if not begun.get("time") or share <= 0.01:
        return "it has just begun"
    elapsed = time.time() - calendar.timegm(time.strptime(begun["time"], "%Y-%m-%dT%H:%M:%SZ"))
    left = max(0.0, elapsed * (1 - share) / share)
    return f"{100 * share:.0f} % of its epochs are done, at most about {show_duration(left)} left"


def _read_table(run: RunFolder, number: int) -> Mapping[str, Any]:
    tables = tomllib.loads(run.read_study())["stage"]
    table: Mapping[str, Any] = tables[number - 1]
    return table


def _count_epochs(trials: list[dict[str, Any]], table: Mapping[str, Any]) -> float:
    """Epochs that trials have been given, counted as the stage's plan counts them."""
    folds = int(table.get("folds") or 1)
    return folds * sum(float(rung["epochs"]) for trial in trials for rung in trial["rungs"])


def _count_own(stage_dir: Path, history: list[dict[str, float]]) -> float:
    seeds = [read_json(path) for path in sorted(stage_dir.glob("seeds/*/result.json"))]
    own = history[-1]["epoch"] if history else 0.0
    return own + sum(float(run["epochs"]) for run in seeds)


def _read_own_history(stage_dir: Path) -> list[dict[str, float]]:
    """The history of the stage's own fit as far as its checkpoint has it."""
    for path in (stage_dir / "checkpoint.npz", *sorted(stage_dir.glob("seeds/*/checkpoint.npz"))):
        try:
            with np.load(io.BytesIO(read_sealed(path)), allow_pickle=False) as arrays:
                history: list[dict[str, float]] = json.loads(arrays["meta"].tobytes())["history"]
                return history
        except (RunFolderError, ValueError, KeyError, zipfile.BadZipFile):
            continue  # There is none, or it was replaced while it was read.
    return []


# What the page may load it says itself, with its script's hash; here is what only headers can.
_SECURITY_HEADERS = (
    (
        "Content-Security-Policy",
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class _Handler(BaseHTTPRequestHandler):
    server: Watcher

    def do_GET(self) -> None:
        hosts, origins = (self.headers.get_all(name, []) for name in ("Host", "Origin"))
        foreign = explain_foreign(hosts, origins)
        if foreign is not None:
            said = f"{foreign.reason}\n".encode(errors="backslashreplace")
            self._answer(403, "text/plain; charset=utf-8", said)
            return
        try:
            if self.path == "/":
                self._answer(200, "text/html; charset=utf-8", self.server.page())
            elif self.path == "/live.json":
                content = json.dumps(describe_live(self.server.run)).encode()
                self._answer(200, "application/json", content)
            else:
                self._answer(404, "text/plain", b"there is nothing here\n")
        except BurnishError as error:
            self._answer(
                500, "text/plain; charset=utf-8", f"{error}\n".encode(errors="backslashreplace")
            )

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        for name, value in _SECURITY_HEADERS:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: a line for each look would bury all else."""
