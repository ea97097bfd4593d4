"""Scenarios from presets, YAML files and mappings, and the one-line errors for what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeprec_env.errors import InputError
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.schema import Scenario
from deeprec_env.yaml_text import parse_yaml

_PRESETS = resources.files("deeprec_env.scenario") / "presets"
_PIPELINES = _PRESETS / "pipelines"


def preset_names() -> list[str]:
    """Names of the shipped scenarios."""
    return _names_in(_PRESETS)


def _names_in(folder: Traversable) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def pipeline_names() -> list[str]:
    """Names of the shipped pipelines: scenarios too, but without a capacity and a day."""
    return _names_in(_PIPELINES)


def preset_text(name: str) -> str:
    """The YAML text of a shipped scenario; "v0/NAME" is that of an earlier version, kept for what refers to it."""
    if not is_preset(name):
        raise InputError("scenario", name, f"must be one of {', '.join(preset_names() + pipeline_names())}")
    folder = _PIPELINES if name in pipeline_names() else _PRESETS
    return (folder / f"{name}.yaml").read_text(encoding="utf-8")


def is_preset(name: object) -> bool:
    """Whether a shipped scenario has that name, of the present version or, after "v0/", an earlier one."""
    version, slash, rest = str(name).rpartition("/")
    of_version = (version, slash) in (("", ""), ("v0", "/")) and rest in _names_in(_PRESETS / version)
    return of_version or name in pipeline_names()


def load_scenario(
    source: str | Path | Mapping[str, Any] | Scenario, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Scenario:
    """The scenario that a preset's name, a YAML file's path or a mapping describes; a `Scenario` passes through.

    `overrides`: "key.path=value" strings (the value is YAML), or a mapping from key path to value, put in before
    validation. Raises `InputError` with the field, its value and what is allowed.
    """
    if not isinstance(source, str | Path | Mapping | Scenario):
        raise InputError("scenario", source, "must be a preset's name, a YAML file's path, a mapping or a Scenario")
    if isinstance(source, Scenario) and not overrides:
        return source
    try:
        data, name, base_dir = _read(source)
    except RecursionError:
        raise InputError("scenario", source, "must not be nested so deep") from None
    for path, value in assignments("--set", overrides):
        _assign(data, path, value)
    return validated(data, name, base_dir)


def validated(data: Mapping[str, Any], name: str, base_dir: Path) -> Scenario:
    """Validate a scenario's mapping; relative paths in it are relative to `base_dir`."""
    try:
        return Scenario.model_validate(data, context={"base_dir": base_dir})
    except ValidationError as error:
        raise input_error(error, name) from None


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


def _read(source: str | Path | Mapping[str, Any] | Scenario) -> tuple[dict[str, Any], str, Path]:
    if isinstance(source, Scenario):
        return source.model_dump(mode="json"), "scenario", Path()
    if isinstance(source, Mapping):
        return _copied(source), "scenario", Path()
    if is_preset(source):
        return _parsed(preset_text(str(source)), str(source)), str(source), Path()
    path = Path(source)
    try:
        found = path.is_file()
    except OSError:  # a name too long for a file's
        found = False
    if not found:
        raise InputError("scenario", str(source), _why_not_there(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("scenario", str(source), f"must be a readable YAML file ({error})") from None
    return _parsed(text, str(source)), str(source), path.parent


def _why_not_there(path: Path) -> str:
    """What is wrong with the name of a scenario that is neither a preset nor a file."""
    if path.suffix or len(path.parts) > 1:  # no preset's name
        try:
            if path.is_dir():
                return "is a folder; must be a YAML file, or a preset's name (see 'deeprec scenarios')"
        except OSError:
            pass
        return "there is no such file; must be a YAML file, or a preset's name (see 'deeprec scenarios')"
    return f"must be a YAML file or one of {', '.join(preset_names() + pipeline_names())}"


def _parsed(text: str, name: str) -> dict[str, Any]:
    data = parse_yaml(text, "scenario", name)
    if not isinstance(data, dict):
        raise InputError("scenario", name, "must hold a mapping with sla_ms, workload and node or pipeline")
    return data


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value


def assignments(option: str, overrides: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names and values of "name=value" texts, the values read as YAML; errors name `option`."""
    if isinstance(overrides, Mapping):
        for path in overrides:
            if not isinstance(path, str):
                raise InputError(option, path, "must be the text of a key path")
        return list(overrides.items())
    if isinstance(overrides, str) or not isinstance(overrides, Iterable):
        raise InputError(option, overrides, "must be texts like name=value, or a mapping from key path to value")
    pairs = []
    for text in overrides:
        path, equals, value = text.partition("=") if isinstance(text, str) else ("", "", "")
        if not equals or not path:
            raise InputError(option, text, "must look like name=value")
        pairs.append((path, parse_yaml(value, option, text)))
    return pairs


def _assign(data: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        data = _step(data, part, path)
    if isinstance(data, list):
        data[_position(data, last, path)] = value
    elif isinstance(data, dict):
        data[last] = value
    else:
        raise InputError("--set", path, f"{last!r} is not inside a mapping or list")


def _step(data: Any, part: str, path: str) -> Any:
    if isinstance(data, list):
        return data[_position(data, part, path)]
    if not isinstance(data, dict):
        raise InputError("--set", path, f"{part!r} is not inside a mapping or list")
    if data.get(part) is None:
        data[part] = {}
    return data[part]


def _position(data: list[Any], part: str, path: str) -> int:
    if not part.isdecimal() or len(part) > 9 or int(part) >= len(data):
        raise InputError("--set", path, f"{part!r} must be a position from 0 to {len(data) - 1}")
    return int(part)
