"""Pages of the site that the code itself tells: commands, keys of a study file, the front page.

MkDocs calls `on_files` before it builds. Each page is made by a function from the code to Markdown,
which tests hold complete. Notebooks are executed, and become pages with their outputs.
"""

from __future__ import annotations

import importlib.util
import re
import types
import typing
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperGroup, TyperOption

# MkDocs loads this file by its path, and knows nothing of the folder.
_spec = importlib.util.spec_from_file_location(
    "notebooks", Path(__file__).with_name("notebooks.py")
)
assert _spec is not None
assert _spec.loader is not None
notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(notebooks)

ROOT = Path(__file__).parents[1]

STUDY_HEAD = """# Study files

A study file is TOML. These are all of its tables and keys; an unknown key is an error.
`burnish init`
writes one with comments for your own images, and `burnish studies` lists those that ship.
"""


def write_commands() -> str:
    """Return the reference of every command, its arguments and options."""
    from burnish.cli import app

    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    lines = ["# Commands", "", f"`burnish COMMAND --help` says the same. {group.help or ''}", ""]
    for name, command in group.commands.items():
        lines += [f"## burnish {name}", "", command.help or "", ""]
        context = typer.Context(command, info_name=f"burnish {name}")
        lines += ["```", command.get_usage(context).removeprefix("Usage: "), "```", ""]
        rows = [_describe_parameter(parameter, context) for parameter in command.params]
        if rows:
            lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _describe_parameter(parameter: Any, context: typer.Context) -> str:
    """Return a row of the table: what an option or argument is called, takes and means."""
    from burnish.cli.help import fill_in

    said = fill_in(parameter.help or "")
    if not isinstance(parameter, TyperOption):
        return f"| `{parameter.metavar or parameter.name.upper()}` | {_text_cell(said)} |"
    name = ", ".join(f"`{option}`" for option in parameter.opts)
    taken = parameter.metavar or parameter.display_type(context)
    shown = "" if parameter.is_flag else f" `{_cell(str(taken))}`"
    if not any(parameter.default is nothing for nothing in (None, False, ...)):
        said += f" Default: `{parameter.default}`."
    return f"| {name}{shown} | {_text_cell(said)} |"


def write_study_keys() -> str:
    """Return the reference of every table and key of a study file."""
    from burnish.study import schema

    tables: list[tuple[str, type[BaseModel]]] = [
        ("[study]", schema.StudySection),
        ("[data]", schema.DataSection),
        ("[training]", schema.TrainingSection),
        ('[[stage]] with kind = "train"', schema.TrainStage),
        ('[[stage]] with kind = "tune"', schema.TuneStage),
        ('[[stage]] with kind = "final"', schema.FinalStage),
        ("split of [data]", schema.SplitSection),
        ("schedule of a tuning stage", schema.ScheduleSection),
        ("resources of a tuning stage", schema.ResourcesSection),
    ]
    lines = [STUDY_HEAD]
    for title, table in tables:
        lines += [f"## {title}", "", _paragraphs(table.__doc__ or ""), ""]
        lines += ["| key | value | default | |", "|---|---|---|---|"]
        for name, field in table.model_fields.items():
            value, default = show_type(field.annotation), _show_default(field)
            lines.append(
                f"| `{name}` | {_cell(value)} | {default} | {_cell(field.description or '')} |"
            )
        lines.append("")
    return "\n".join(lines)


def show_type(annotation: Any) -> str:
    """Return what a study file may hold for a type, in words.

    >>> show_type(int | None)
    'a whole number'
    >>> show_type(typing.Literal["full", "hyperband"])
    '`"full"`, `"hyperband"`'
    """
    words = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "`true` or `false`",
        Any: "any value",
    }
    if annotation in words:
        return words[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return show_type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f'`"{argument}"`' for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        shown = [show_type(a) for a in arguments if a is not type(None)]
        if "a number" in shown and "a whole number" in shown:
            shown.remove("a whole number")
        return " or ".join(dict.fromkeys(shown))
    if origin is list:
        return f"a list: {show_type(arguments[0])}"
    if origin is dict:
        return "a table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a table, see below"
    return "a value"


def _show_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is None or default is PydanticUndefined or isinstance(default, BaseModel | list):
        return ""
    if isinstance(default, dict):
        return "`{}`"
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return f'`"{shown}"`' if isinstance(default, str) and default else f"`{shown}`" if shown else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _text_cell(text: str) -> str:
    """Return plain text as a cell; what stands in angle brackets is no tag."""
    return _cell(text).replace("<", "&lt;")


def _paragraphs(docstring: str) -> str:
    """Return a docstring as Markdown: without its indent, roles and double backticks."""
    text = re.sub(r"^ {4}", "", docstring.strip(), flags=re.MULTILINE)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    return text.replace("``", "`")


def write_front_page() -> str:
    """Return the README as the front page: its links lead into the site, or to nothing but text."""
    return _adopt("README.md")


def _adopt(name: str) -> str:
    """Return a page of the repository's top as one of the site."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = _link_notebooks(re.sub(r"\]\(docs/", "](", text))
    text = re.sub(r"\]\(README\.md", "](index.md", text)
    # What lies outside of the documents has no page here.
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|[\w/.-]+\.md|images/)[^)]+\)", r"\1", text)


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, and those of the repository's top, to those of the folder."""
    from mkdocs.structure.files import File

    pages = {
        "index.md": write_front_page(),
        "CONTRIBUTING.md": _adopt("CONTRIBUTING.md"),
        "CHANGELOG.md": _adopt("CHANGELOG.md"),
        "reference/commands.md": write_commands(),
        "reference/study.md": write_study_keys(),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    for name in notebooks.NOTEBOOKS:
        stem = name.removesuffix(".ipynb")
        text, pictures = notebooks.write_markdown(notebooks.execute(name), stem)
        files.remove(files.get_file_from_path(name))
        files.append(File.generated(config, f"{stem}.md", content=text))
        for picture, content_of in pictures.items():
            files.append(File.generated(config, picture, content=content_of))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Show links that lead out of the documents, to code and tests, as plain names."""
    return re.sub(r"\[([^\]]+)\]\(\.\./(?!reference/)[^)]+\)", r"`\1`", _link_notebooks(markdown))


def _link_notebooks(markdown: str) -> str:
    """Let links to notebooks lead to their pages."""
    return re.sub(r"\]\(([\w-]+)\.ipynb\)", r"](\1.md)", markdown)
