"""``burnish serve``: the listening socket, the worker processes, and an orderly end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, cast

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from burnish.bundle.model import load
from burnish.child_processes import program_left_out
from burnish.errors import ServeError
from burnish.serve.limits import Limits

BACKLOG = 128
"""Connections that the system holds until the server takes them."""


def serve(
    path: Path,
    host: str,
    port: int,
    workers: int,
    announce: Callable[[str, str], None],
    names: Iterable[str] = (),
    limits: Limits | None = None,
) -> None:
    """Serve a model until SIGTERM or SIGINT; then finish what is under way, and return.

    Parameters
    ----------
    path
        A bundle, or the folder of a finished run.
    host, port
        Where to listen; port 0 is any free one.
    workers
        Server processes; each holds the model.
    announce
        Is called with the model's name and the address once connections are taken.
    names
        By which it is asked beside ``host``, addresses, ``localhost`` and the machine's own name.
    limits
        What is accepted; ``names`` are added to its hosts.  (default: :class:`Limits`)

    Raises
    ------
    BundleError
        If the model cannot be loaded.
    ServeError
        If the address cannot be listened on.
    """
    model = load(path, threads=1)
    known = frozenset(n.lower() for n in (host, socket.gethostname(), *names))
    limits = limits or Limits()
    limits = replace(limits, hosts=limits.hosts | known)
    with open_socket(host, port) as listener:
        address = _show_address(listener)
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, _leave)
        if workers == 1:
            from burnish.serve.app import create_app

            config = _configure(create_app(model, limits), limits)
            announce(model.name, address)
            Server(config).run([listener])
            return
        # What the processes count is added up over files; the variable comes first, since
        # prometheus_client reads it when it is imported, which happens in the workers.
        with tempfile.TemporaryDirectory(prefix="burnish-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            config = _configure(partial(_create_in_worker, path, limits), limits, workers)
            announce(model.name, address)
            with program_left_out():  # For all of its time, as it replaces those that die.
                Multiprocess(config, [listener]).run()


def open_socket(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises
    ------
    ServeError
        If the host is unknown or not this machine's, or the port in use or not permitted.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ServeError(
            f"--host {host} is not known ({reason}); 127.0.0.1 is this machine alone, "
            "0.0.0.0 all its networks"
        ) from error
    family, kind, protocol, _, address = found[0]
    # With its protocol named: only then does asyncio switch Nagle's algorithm off, which costs
    # 40 ms an answer, as head and body are written apart.
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # There it would let two servers have one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServeError(
            f"cannot listen on {host}, port {port} ({error.strerror}); "
            "choose another --port (0: any free one) or --host"
        ) from error
    listener.set_inheritable(True)
    return listener


def _configure(app: ASGIApp | Callable[[], ASGIApp], limits: Limits, workers: int = 1) -> Config:
    from burnish.serve.connection import GuardedProtocol

    # What is wrong with a request is said to its client, not to the log, which it could fill.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    return Config(
        cast("Any", app),  # Starlette's and uvicorn's types of one thing differ.
        factory=workers > 1,
        workers=workers,
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=int(limits.drain_seconds),
    )


def _create_in_worker(path: Path, limits: Limits) -> ASGIApp:
    from burnish.serve.app import create_app

    return create_app(load(path, threads=1), limits)


def _show_address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _leave(_: int, __: FrameType | None) -> NoReturn:
    """End with code 0: uvicorn sends the signal again once it has drained."""
    sys.exit(0)
