from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from burnish.errors import StudyError
from burnish.registry import Registry


@dataclass(frozen=True)
class Fruit:
    name: str
    weight: int = 1


def _check(fruit: Fruit, others: tuple[Fruit, ...]) -> None:
    if fruit.weight > 10 * len(others) + 10:
        raise ValueError(f"{fruit.name} is too heavy")


def make() -> Registry[Fruit]:
    registry: Registry[Fruit] = Registry("fruit", StudyError, (), _check)  # type: ignore[arg-type]
    registry.register(Fruit("pear"))
    registry.register(Fruit("apple"))
    return registry


def test_what_is_registered_is_found_by_its_name_in_that_order() -> None:
    registry = make()
    assert registry.find("pear") == Fruit("pear")
    assert registry.names() == ("pear", "apple")
    assert list(registry) == [Fruit("pear"), Fruit("apple")]
    assert len(registry) == 2
    assert "pear" in registry
    assert "plum" not in registry
    assert registry.origin("pear") is None


def test_an_unknown_name_is_an_error_that_says_what_exists() -> None:
    with pytest.raises(StudyError, match=r"unknown fruit 'paer'; did you mean 'pear'\? There are"):
        make().find("paer")
    with pytest.raises(StudyError, match="unknown fruit 'x'"):
        make().unregister("x")
    with pytest.raises(StudyError, match="unknown fruit 'x'"):
        make().origin("x")


def test_a_taken_name_and_a_bad_entry_are_refused_and_change_nothing() -> None:
    registry = make()
    with pytest.raises(ValueError, match="the fruit 'pear' is registered already"):
        registry.register(Fruit("pear"))
    with pytest.raises(ValueError, match="melon is too heavy"):
        registry.register(Fruit("melon", 31))
    assert registry.names() == ("pear", "apple")
    registry.register(Fruit("melon", 30))
    registry.unregister("melon")
    assert "melon" not in registry


def install(folder: Path, module: str, code: str) -> None:
    """Lay out a package with an entry point as pip leaves it."""
    (folder / f"{module}.py").write_text(textwrap.dedent(code), "utf-8")
    facts = folder / f"{module}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[burnish.plugins]\n{module} = {module}\n")


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{textwrap.dedent(code)}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


PEAR = """
    from burnish.tuning.schedules import SCHEDULES, Schedule
    SCHEDULES.register(Schedule("pear", lambda options: (), lambda options: None))
"""


def test_a_plug_in_is_loaded_when_something_is_looked_up_and_its_source_is_its_origin(
    tmp_path: Path,
) -> None:
    install(tmp_path, "fruits", PEAR)
    ask = """
        from burnish.tuning.schedules import SCHEDULES
        assert "fruits" not in sys.modules
        assert SCHEDULES.find("pear").name == "pear"
        print(SCHEDULES.origin("pear"), SCHEDULES.origin("full"))
    """
    first = run(tmp_path, ask)
    assert first.returncode == 0, first.stderr
    package, version, digest, builtin = first.stdout.split()
    assert (package, version, len(digest), builtin) == ("fruits", "1.0", 64, "None")
    (tmp_path / "fruits.py").write_text(textwrap.dedent(PEAR) + "# changed\n", "utf-8")
    assert run(tmp_path, ask).stdout.split()[2] != digest


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        (PEAR + PEAR, "the schedule 'pear' is registered already"),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_is_named_with_its_package(
    tmp_path: Path, code: str, said: str
) -> None:
    install(tmp_path, "fruits", code)
    ended = run(
        tmp_path,
        """
        from burnish.errors import PluginError
        from burnish.tuning.schedules import SCHEDULES
        for _ in range(2):  # It is said each time, not found empty the second time.
            try:
                SCHEDULES.find("full")
            except PluginError as error:
                print(error)
        """,
    )
    lines = ended.stdout.splitlines()
    assert len(lines) == 2, ended.stderr
    assert said in lines[0]
    assert "the plug-in 'fruits' (fruits) of fruits cannot be loaded" in lines[1]
    assert "uninstall fruits" in lines[0]
