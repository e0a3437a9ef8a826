"""Plug points: names, what stands behind each, and plug-ins that add their own.

    SAMPLERS = Registry("sampler", StudyError, (RANDOM, GRID, TPE, GP))
    find_sampler("rndom")          # StudyError: unknown sampler 'rndom'; did you mean 'random'?

A plug-in from outside is a package with an entry point in the group `burnish.plugins`. The
module that it names is imported before anything is looked up for the first time, in the command
line and in worker processes alike; whatever the module registers is then known by its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from burnish.errors import BurnishError, PluginError, describe_exception, name_what_exists

GROUP = "burnish.plugins"
"""The group of entry points that plug-ins are found by."""


class Named(Protocol):
    """What can be registered: it has a name."""

    @property
    def name(self) -> str:
        """The name by which people ask for it."""
        ...


Entry = TypeVar("Entry", bound=Named)


class _Plugins:
    """The plug-ins of this process: found once, imported once."""

    def __init__(self) -> None:
        self.state: str = "unknown"
        self.importing: str | None = None

    def load(self) -> None:
        """Import every plug-in that is installed, if that has not been done yet.

        Raises
        ------
        PluginError
            If one cannot be imported; the message names it and its package.
        """
        if self.state != "unknown":
            return
        self.state = "loading"
        try:
            # Sorted, so that two processes register in the same order.
            for found in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
                self._import(found)
        except BaseException:
            self.state = "unknown"
            raise
        self.state = "loaded"

    def _import(self, found: EntryPoint) -> None:
        with self.origin(describe_plugin(found)):
            try:
                found.load()
            except Exception as error:  # Whatever a plug-in dies of.
                package = found.dist.name if found.dist is not None else "an unknown package"
                raise PluginError(
                    f"the plug-in '{found.name}' ({found.value}) of {package} cannot be loaded: "
                    f"{describe_exception(error)}. Repair it, or uninstall {package}"
                ) from error

    @contextmanager
    def origin(self, name: str) -> Iterator[None]:
        """Note of everything that is registered inside where it comes from."""
        before, self.importing = self.importing, name
        try:
            yield
        finally:
            self.importing = before


_plugins = _Plugins()


def describe_plugin(found: EntryPoint) -> str:
    """Return a plug-in's package, version and the SHA-256 of its source.

    All three are part of the fingerprint of a stage that uses it: whoever changes a plug-in is
    not shown the results of the old one.
    """
    package = f"{found.dist.name} {found.dist.version}" if found.dist is not None else found.value
    return f"{package} {_hash_source(found.module)}"


def _hash_source(module: str) -> str:
    """Return the SHA-256 of a module's file, or of all Python files of a package."""
    spec = find_spec(module.partition(".")[0])
    digest = hashlib.sha256()
    if spec is None or spec.origin is None:
        return digest.hexdigest()
    root = Path(spec.origin)
    if spec.submodule_search_locations is None:
        return hashlib.sha256(root.read_bytes()).hexdigest()
    for path in sorted(root.parent.rglob("*.py")):
        name = path.relative_to(root.parent).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Registry(Generic[Entry]):
    """What is known of one kind, by name, in the order of registration.

    Parameters
    ----------
    kind
        What an entry is, for messages: ``model``, ``sampler``.
    error
        The exception of an unknown name.
    shipped
        The entries of burnish itself.
    check
        Takes an entry and those that are there; raises `ValueError` if it cannot be used.
    """

    def __init__(
        self,
        kind: str,
        error: type[BurnishError],
        shipped: Sequence[Entry] = (),
        check: Callable[[Entry, Sequence[Entry]], None] | None = None,
    ) -> None:
        self.kind = kind
        self._error = error
        self._check = check
        self._entries: dict[str, Entry] = {}
        self._origins: dict[str, str] = {}
        self._shipped = frozenset(entry.name for entry in shipped)
        for entry in shipped:
            self.register(entry)

    def register(self, entry: Entry) -> Entry:
        """Make an entry known by its name, and return it.

        Raises
        ------
        ValueError
            If the name is taken, or the entry cannot be used.
        """
        if entry.name in self._entries:
            raise ValueError(
                f"the {self.kind} '{entry.name}' is registered already; choose another name"
            )
        if self._check is not None:
            self._check(entry, tuple(self._entries.values()))
        self._entries[entry.name] = entry
        if _plugins.importing is not None:
            self._origins[entry.name] = _plugins.importing
        return entry

    def unregister(self, name: str) -> None:
        """Forget an entry; for tests, and for notebooks in which one is written again."""
        self.find(name)
        del self._entries[name]
        self._origins.pop(name, None)

    def find(self, name: str) -> Entry:
        """Return the entry of a name.

        Raises
        ------
        BurnishError
            Of the registry's kind, if there is none; the message names those that exist.
        PluginError
            If a plug-in that is installed cannot be loaded.
        """
        _plugins.load()
        if name not in self._entries:
            raise self._error(name_what_exists(self.kind, name, self._entries))
        return self._entries[name]

    def origin(self, name: str) -> str | None:
        """Return the package, version and SHA-256 of the plug-in that registered a name.

        ``None`` where burnish itself did, or a script.
        """
        self.find(name)
        return self._origins.get(name)

    def is_shipped(self, name: str) -> bool:
        """Whether burnish itself has the entry, and not a plug-in or a script."""
        return name in self._shipped

    def has_scripted(self) -> bool:
        """Whether the program that runs has registered entries, which no other process finds."""
        return any(e.name not in self._shipped | self._origins.keys() for e in self)

    def names(self) -> tuple[str, ...]:
        """Return all names, in the order of registration."""
        return tuple(entry.name for entry in self)

    def __iter__(self) -> Iterator[Entry]:
        _plugins.load()
        return iter(tuple(self._entries.values()))

    def __contains__(self, name: object) -> bool:
        _plugins.load()
        return name in self._entries

    def __len__(self) -> int:
        _plugins.load()
        return len(self._entries)
