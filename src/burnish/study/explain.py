"""What pydantic finds wrong, in the words of a study file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel

from burnish.errors import StudyError, name_what_exists
from burnish.study.text import quote

Schema = TypeVar("Schema", bound=BaseModel)


def validate(schema: type[Schema], table: Any, where: str) -> Schema:
    """Validate one table; the first thing that is wrong becomes a readable error."""
    try:
        return schema.model_validate(table)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = _path_of(first)
        if first["type"] == "extra_forbidden":
            inner = _schema_at(schema, path[:-1])
            existing = inner.model_fields if inner is not None else []
            inside = f" '{quote('.'.join(path[:-1]))}'" if path[:-1] else ""
            raise StudyError(
                f"{where}{inside}: " + name_what_exists("key", path[-1], existing)
            ) from error
        if first["type"] == "missing":
            raise StudyError(f"{where}: the key '{'.'.join(path)}' is missing") from error
        # Where several types would do, there is an error for each.
        expected = dict.fromkeys(_expectation(e) for e in error.errors() if _path_of(e) == path)
        if "a number" in expected:
            expected.pop("a whole number", None)
        given = f": {quote('.'.join(path))}" if path else ""
        raise StudyError(
            f"{where}{given} = {quote(repr(first['input']))}: expected {' or '.join(expected)}"
        ) from error


_TYPE_ERRORS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "dict_type": "a table",
    "list_type": "a list",
    "model_type": "a table",
}
"""What pydantic's errors about types mean in a TOML file."""


def _path_of(error: Any) -> list[str]:
    """Where an error is; where several types would do, pydantic adds the type's name."""
    path = [str(part) for part in error["loc"]]
    named = error["type"] in _TYPE_ERRORS and path and path[-1] in {"int", "float", "str", "bool"}
    return path[:-1] if named else path


def _expectation(error: Any) -> str:
    if error["type"] in _TYPE_ERRORS:
        return _TYPE_ERRORS[error["type"]]
    if error["type"] == "string_pattern_mismatch":
        return "lower-case letters, digits and hyphens, beginning with a letter or digit"
    message = str(error["msg"])
    if error["type"].startswith(("greater_than", "less_than")):
        return message.replace("Input should be", "a number")
    return message.removeprefix("Input should be ").removeprefix("String should have ")


def _schema_at(schema: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    for part in path:
        field = schema.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        schema = annotation
    return schema
