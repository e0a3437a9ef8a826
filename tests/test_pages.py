"""The generated pages of the site are complete."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from burnish.cli import app

PAGES = Path(__file__).parents[1] / "docs" / "pages.py"


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", PAGES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_its_section_with_every_option(pages: ModuleType) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    sections = pages.write_commands().split("\n## burnish ")[1:]
    assert [section.partition("\n")[0] for section in sections] == list(group.commands)
    for section, command in zip(sections, group.commands.values(), strict=True):
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) == len(command.params)
        for row, parameter in zip(rows, command.params, strict=True):
            if isinstance(parameter, TyperOption):
                assert row.startswith(f"| `{parameter.opts[0]}`")


def test_a_default_is_told_even_if_it_is_zero_and_no_placeholder_is_taken_for_a_tag(
    pages: ModuleType,
) -> None:
    text = pages.write_commands()
    assert "Default: `0`." in text
    assert "(default: runs/&lt;study or images>)" in text


def test_every_table_of_a_study_file_has_its_keys(pages: ModuleType) -> None:
    text = pages.write_study_keys()
    for key in ("source", "max_pixels", "batch_size", "sampler", "min_epochs", "max_mflops"):
        assert f"\n| `{key}` |" in text
