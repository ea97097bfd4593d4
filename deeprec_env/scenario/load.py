"""Scenarios from presets, YAML files and mappings, and the one-line errors for what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeprec_env.errors import InputError
from deeprec_env.scenario.invalid import input_error as input_error
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.shipped import fleet_names as fleet_names
from deeprec_env.scenario.shipped import is_preset as is_preset
from deeprec_env.scenario.shipped import pipeline_names as pipeline_names
from deeprec_env.scenario.shipped import preset_names as preset_names
from deeprec_env.scenario.shipped import preset_text as preset_text
from deeprec_env.yaml_text import parse_yaml


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
    return f"must be a YAML file or one of {', '.join(preset_names() + pipeline_names() + fleet_names())}"


def _parsed(text: str, name: str) -> dict[str, Any]:
    data = parse_yaml(text, "scenario", name)
    if not isinstance(data, dict):
        raise InputError("scenario", name, "must hold a mapping with sla_ms, workload and node, pipeline or fleet")
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
