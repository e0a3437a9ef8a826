from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from burnish.cli import app as burnish_app
from burnish.cli.groups import takes_groups


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Paint:
    layers: Annotated[int, typer.Option("--coats", min=1)]
    colour: Annotated[Colour, typer.Option(help="Which.")] = Colour.RED
    tools: Annotated[list[str] | None, typer.Option("--with")] = None


def make_app(seen: list[object]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @takes_groups
    def paint(
        wall: Path, paint: Paint, dry: Annotated[bool, typer.Option("--dry")] = False
    ) -> None:
        """Paint a wall."""
        seen.extend((wall, paint, dry))

    return app


def test_a_commands_group_is_made_of_options_in_its_place() -> None:
    seen: list[object] = []
    app = make_app(seen)
    command = get_command(app)
    assert [parameter.name for parameter in command.params][:5] == [
        "wall",
        "layers",
        "colour",
        "tools",
        "dry",
    ]
    assert command.help == "Paint a wall."

    words = ["w", "--coats", "2", "--colour", "blue", "--with", "brush", "--with", "tape", "--dry"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert seen == [Path("w"), Paint(2, Colour.BLUE, ["brush", "tape"]), True]


def test_a_groups_defaults_and_limits_hold() -> None:
    seen: list[object] = []
    app = make_app(seen)
    assert CliRunner().invoke(app, ["w", "--coats", "1"]).exit_code == 0
    assert seen == [Path("w"), Paint(1), False]
    for bad in (["w"], ["w", "--coats", "0"], ["w", "--coats", "1", "--colour", "green"]):
        assert CliRunner().invoke(app, bad).exit_code == 2
    assert len(seen) == 3


def test_check_and_init_read_images_by_the_same_options() -> None:
    commands = get_command(burnish_app).commands  # type: ignore[attr-defined]
    shared = {
        "format", "group", "image_column", "label_column", "image_root", "class_case", "labels",
        "masks", "range", "max_pixels",
    }  # fmt: skip
    helps = [
        {each.name: each.help for each in commands[name].params if each.name in shared}
        for name in ("check", "init")
    ]
    assert helps[0] == helps[1]
    assert helps[0].keys() == shared


@pytest.mark.parametrize(
    "name",
    [command.callback.__name__ for command in burnish_app.registered_commands if command.callback],
)
def test_every_command_and_option_says_what_it_is_for(name: str) -> None:
    command = get_command(burnish_app).commands[name]  # type: ignore[attr-defined]
    assert command.help.partition("\n")[0].endswith(".")
    assert [each.name for each in command.params if not each.help] == []
