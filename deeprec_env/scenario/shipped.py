"""The shipped scenarios: their names and their text."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable

from deeprec_env.errors import InputError

_PRESETS = resources.files("deeprec_env.scenario") / "presets"
_PIPELINES = _PRESETS / "pipelines"
_FLEETS = _PRESETS / "fleets"


def preset_names() -> list[str]:
    """Names of the shipped scenarios."""
    return _names_in(_PRESETS)


def _names_in(folder: Traversable) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def pipeline_names() -> list[str]:
    """Names of the shipped pipelines: scenarios too, but without a capacity and a day."""
    return _names_in(_PIPELINES)


def fleet_names() -> list[str]:
    """Names of the shipped fleets: scenarios too, with a day."""
    return _names_in(_FLEETS)


def preset_text(name: str) -> str:
    """The YAML text of a shipped scenario; "v0/NAME" is that of an earlier version, kept for what refers to it."""
    if not is_preset(name):
        raise InputError(
            "scenario", name, f"must be one of {', '.join(preset_names() + pipeline_names() + fleet_names())}"
        )
    folder = _PIPELINES if name in pipeline_names() else _FLEETS if name in fleet_names() else _PRESETS
    return (folder / f"{name}.yaml").read_text(encoding="utf-8")


def is_preset(name: object) -> bool:
    """Whether a shipped scenario has that name, of the present version or, after "v0/", an earlier one."""
    version, slash, rest = str(name).rpartition("/")
    of_version = (version, slash) in (("", ""), ("v0", "/")) and rest in _names_in(_PRESETS / version)
    return of_version or name in pipeline_names() + fleet_names()
