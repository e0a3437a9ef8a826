"""The lock of a run folder: one process at a time writes it, and others are told which."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.child_processes import refuse_to_begin_again
from burnish.errors import RunBusyError, RunFolderError
from burnish.files import make_folder, may_run, read_json, remove_leftovers, write_json
from burnish.runfolder.clock import now

if TYPE_CHECKING:
    from filelock import BaseFileLock


class RunLock:
    """Whether a process may write a run folder, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / ".lock"
        self._owner_file = folder / ".owner.json"
        self._held = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the run folder for writing; it is created if need be.

        Whoever holds it may ask again. What a killed process had begun to write is removed
        first. A folder that was created, and in which nothing was written, is removed at the end,
        with those above it.

        Raises
        ------
        RunBusyError
            If another process holds it; the message names that process.
        RunFolderError
            If the folder cannot be created or written.
        """
        if self._held:
            yield
            return
        refuse_to_begin_again()
        held, created = self._acquire()
        self._held = True
        try:
            write_json(
                self._owner_file,
                {"pid": os.getpid(), "host": socket.gethostname(), "since": now()},
            )
            remove_leftovers(self._folder)
            yield
        finally:
            self._held = False
            with suppress(OSError):
                self._owner_file.unlink(missing_ok=True)
            if created and [entry.name for entry in self._folder.iterdir()] == [".lock"]:
                # While it is held: whoever has opened the file sees that it is gone.
                self._file.unlink()
                with suppress(OSError):  # Another run may have begun in those above.
                    for folder in created:
                        folder.rmdir()
            held.release()

    def is_held(self) -> bool:
        """Whether some process holds it."""
        import filelock

        if not self._file.exists():
            return False
        probe = filelock.FileLock(self._file)
        try:
            probe.acquire(timeout=0)
        except filelock.Timeout:
            return True
        except OSError:  # A folder that is not ours to write is not ours to lock.
            return False
        probe.release()
        return False

    def _acquire(self) -> tuple[BaseFileLock, list[Path]]:
        """Take the lock, and return the folders that were created for it, the inner ones first."""
        import filelock

        try:
            refuse_name(self._folder)
            above = [self._folder, *self._folder.parents]
            created = list(takewhile(lambda folder: not folder.exists(), above))
            make_folder(self._folder)
            held = filelock.FileLock(self._file)
            # Whoever asks for its state (status, watch) tries the lock for an instant.
            held.acquire(timeout=0.5)
        except filelock.Timeout as error:
            raise RunBusyError(
                f"{self._folder} is in use by {self._owner()}. Wait for it, stop it, "
                "or run in another folder with --out."
            ) from error
        except OSError as error:
            raise RunFolderError(
                f"the run folder {self._folder} cannot be written: {error.strerror or error}. "
                "Choose another with --out, or free the disk or fix the permission, "
                "then give the same command again."
            ) from error
        return held, created

    def _owner(self) -> str:
        """Name the process that holds the folder.

        The new holder may not have written its name yet, or a killed holder's name may
        remain: both are over in a moment.
        """
        for _ in range(20):
            try:
                owner = read_json(self._owner_file)
            except RunFolderError:
                owner = {}
            if owner and (owner["host"] != socket.gethostname() or may_run(int(owner["pid"]))):
                return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
            time.sleep(0.1)
        return "another process"


def refuse_name(path: Path) -> None:
    """Refuse a folder whose name is not text: TensorFlow and SQLite could not open files in it.

    Raises
    ------
    RunFolderError
        If the name is not UTF-8.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise RunFolderError(
            f"the name of the run folder {path.absolute()} is not text in UTF-8: choose another "
            "with --out"
        ) from error
    except FileNotFoundError as error:
        raise RunFolderError(
            f"the folder that {path} counts from, the working directory, is gone: change to "
            "another, or give a whole path with --out"
        ) from error
