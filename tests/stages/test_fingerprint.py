from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grimp
import pytest

import burnish
from burnish.stages.fingerprint import CODE, derive_seed, fingerprint

CONTENT: dict[str, Any] = {"model": "cnn", "params": {"a": 1, "b": 0.5}, "base": None, "list": [1]}


def test_the_order_of_keys_does_not_matter_at_any_depth() -> None:
    turned = {"list": [1], "base": None, "params": {"b": 0.5, "a": 1}, "model": "cnn"}
    assert fingerprint(turned) == fingerprint(CONTENT)


def test_a_fingerprint_is_the_same_in_every_process_and_version() -> None:
    pinned = "2d28bf5719f53d5e56a6165ae3e0f2fedd456936e1761108d6b05c0d63a63f32"
    assert fingerprint(CONTENT) == pinned


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "fnn"},
        {"params": {"a": 1, "b": 0.5000000000000001}},
        {"params": {"a": "1", "b": 0.5}},
        {"params": {"a": True, "b": 0.5}},
        {"params": {"a": 1, "b": 0.5, "c": None}},
        {"base": "None"},
        {"list": [1, 1]},
        {"more": 1},
    ],
)
def test_every_change_gives_another_fingerprint(changed: dict[str, Any]) -> None:
    assert fingerprint({**CONTENT, **changed}) != fingerprint(CONTENT)


def test_what_is_not_finite_has_no_fingerprint() -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"rate": float("nan")})


def test_seeds_are_pinned() -> None:
    """A change here changes every result of every study."""
    assert derive_seed(42, "fnn", 0) == 1032877889
    assert derive_seed(42, "fnn", 1) == 2248118726
    assert derive_seed(43, "fnn", 0) == 1782794896
    assert derive_seed(42, "cnn", 0) == 3199733463


def test_seeds_have_32_bits_and_no_two_of_them_meet() -> None:
    seeds = [
        derive_seed(study, stage, trial)
        for study in range(5)
        for stage in ("a", "b", "a/1")
        for trial in range(40)
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert max(seeds) > 2**31


SCRIPT = "from burnish.stages.fingerprint import code_fingerprint; print(code_fingerprint())"


def code_fingerprint_of(source: Path) -> str:
    """The code's fingerprint in a process that takes burnish from this folder."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r}); {SCRIPT}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_the_codes_fingerprint_follows_the_code_that_a_stage_depends_on_alone(
    tmp_path: Path,
) -> None:
    package = Path(burnish.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "burnish", ignore=ignore)
    before = code_fingerprint_of(tmp_path)

    (tmp_path / "burnish" / "cli" / "entry.py").write_text("# changed\n", encoding="utf-8")
    (tmp_path / "burnish" / "models" / "notes.txt").write_text("changed\n", encoding="utf-8")
    assert code_fingerprint_of(tmp_path) == before

    seen = {before}
    changing = (
        "models/cnn.py",
        "tuning/samplers/tpe.py",
        "stages/gate.py",
        "runner/tune_stage.py",
        "stats/bootstrap.py",
    )
    for name in changing:
        module = tmp_path / "burnish" / name
        module.write_text(module.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
        seen.add(code_fingerprint_of(tmp_path))
    assert len(seen) == 1 + len(changing)


LOOP = "burnish.runner.run"
"""The loop over stages: it imports all that a result passes through, itself or by way of others."""

CHANGES_NO_RESULT = {
    "burnish.bundle": "what is handed over is written of results that are there",
    "burnish.child_processes": "how processes begin",
    "burnish.errors": "what is raised and said",
    "burnish.files": "reads and writes bytes, with a digest that is checked",
    "burnish.image": "the pixels that it makes of files are in the data's fingerprint",
    "burnish.image_files": "the images that it finds are in the data's fingerprint",
    "burnish.unzip": "the images that it unpacks are in the data's fingerprint",
    "burnish.interrupts": "when a process ends",
    "burnish.sizes": "bytes that a worker may take",
    "burnish.study": "what it makes of a study file is in the fingerprint, value by value",
    "burnish.runfolder.clock": "what time it is",
    "burnish.runfolder.hard_images": "pictures for the report",
    "burnish.runfolder.identical_images": "a table for people",
    "burnish.runfolder.manifest": "hashes of files that are there",
    "burnish.planning": "a plan is a study of its own, with values of its own, or refused",
    "burnish.runner.data_place": "whether a run begins",
    "burnish.runner.kept_model": "writes a model that is there, once more",
    "burnish.runner.paced_study": "a study file of what is decided",
    "burnish.runner.options": "what they say of the search, the workers, is in the fingerprint",
    "burnish.runner.provenance": "what is said of results",
    "burnish.runner.reuse": "whether a stage is done; what it gives is made elsewhere",
    "burnish.runner.run": "the order of stages; what each of them gives is made elsewhere",
    "burnish.runner.stage_outline": "what is said of a stage that begins",
    "burnish.runner.state": "what is said of a run that goes on",
    "burnish.runner.worker_pool": "when workers start and end",
    "burnish.runfolder.store": "names, reads and writes files",
    "burnish.runfolder.tables": "writes and reads files",
    "burnish.runfolder.tensorboard": "a view of results that are there",
    "burnish.telemetry": "what dependencies would report",
}
"""Modules, and packages, that can change without changing a stage's result, with the reason."""


def is_in(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_every_module_that_a_result_passes_through_is_in_the_digest() -> None:
    digested = ["burnish." + name.removesuffix(".py").replace("/", ".") for name in CODE]
    exempt = CHANGES_NO_RESULT.keys()
    graph = grimp.build_graph("burnish", exclude_type_checking_imports=True, cache_dir=None)
    assert set(digested) <= graph.modules, "the digest names what is not there"
    reached, to_visit = {LOOP}, [LOOP]
    while to_visit:
        module = to_visit.pop()
        if module != LOOP and is_in(module, exempt):
            continue
        new = graph.find_modules_directly_imported_by(module) - reached
        reached |= new
        to_visit += new
    missing = {m for m in reached if not is_in(m, digested) and not is_in(m, exempt)}
    assert not missing, "put them into CODE, or say here why they change no result"
    assert not [name for name in exempt if is_in(name, digested)], "in the digest, and exempt"
    assert not [name for name in exempt if not any(is_in(m, [name]) for m in reached)], "unused"
