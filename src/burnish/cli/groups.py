"""Options that several commands share, or that belong together, as one frozen dataclass.

Typer only knows parameters of functions. A command that ``takes_groups`` may have such a dataclass
as a parameter: its fields are then options like any other.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from typing import Any


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of its dataclasses instead, in their order.

    Parameters
    ----------
    command
        A function with annotated parameters, as Typer reads them. A parameter annotated with a
        dataclass is built from the values of its fields, given by keyword.
    """
    parameters: dict[str, Parameter] = {}
    groups: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        if not dataclasses.is_dataclass(parameter.annotation):
            parameters[name] = parameter.replace(kind=Parameter.KEYWORD_ONLY)
            continue
        groups[name] = typing.cast(type[Any], parameter.annotation)
        parameters |= _parameters_of(groups[name])

    @wraps(command)
    def take(**values: Any) -> None:
        made = {
            name: group(
                **{field.name: values.pop(field.name) for field in dataclasses.fields(group)}
            )
            for name, group in groups.items()
        }
        command(**values, **made)

    # Typer reads both attributes.
    take.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    take.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    return take


def _parameters_of(group: type[Any]) -> dict[str, Parameter]:
    annotations = typing.get_type_hints(group, include_extras=True)
    return {
        field.name: Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=annotations[field.name],
        )
        for field in dataclasses.fields(group)
    }
