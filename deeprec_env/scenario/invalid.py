"""What is wrong with a mapping that does not validate, as the one line that commands print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from deeprec_env.errors import InputError
from deeprec_env.scenario.component import Strict


def input_error(error: ValidationError, name: str) -> InputError:
    """The first thing that `error` complains of, as one line."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    location = [str(part) for part in first["loc"]]
    if isinstance(cause, InputError):
        return InputError(".".join([*location, cause.field]), cause.value, cause.allowed)
    value, message = first["input"], first["msg"].removeprefix("Value error, ")
    if first["type"] == "unknown_key":
        key = first["ctx"]["key"]
        location, value = [*location, key], value.get(key)
    elif first["type"] == "missing":
        value, message = None, "is needed"
    elif isinstance(value, Mapping | Strict):
        value = _brief(value)
    return InputError(".".join(location) or name, value, message)


def _brief(value: Any) -> str:
    names = list(value) if isinstance(value, Mapping) else list(type(value).model_fields)
    return "{" + ", ".join(str(name) for name in names) + "}"
