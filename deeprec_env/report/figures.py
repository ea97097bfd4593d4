"""Results' JSON as figures by key path, and what differs between two of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprec_env import console
from deeprec_env.errors import InputError
from deeprec_env.pictures import KINDS
from deeprec_env.provenance import KEY, read_result
from deeprec_env.simulation.header import SCHEMA_VERSION

NOT_FIGURES = frozenset({KEY, "versions", "folder", "files", "csv", "json", "picture", "pictures", *KINDS})
"""Keys of results that may differ where the answer is the same."""

ABSENT = "absent"
"""Stands for what one of two results lacks."""

WIDEST = 40
"""Characters of a value in a table; the JSON has it whole."""

Differences = dict[str, tuple[Any, Any]]


def read_known(path: Path) -> dict[str, Any]:
    """A result's JSON; `InputError` also for one of another schema."""
    result = read_result(path)
    if result.get("schema_version") != SCHEMA_VERSION:
        raise InputError("schema_version", result.get("schema_version"), f"must be {SCHEMA_VERSION}")
    return result


def figures(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A result's answer, without versions and names of files, as it stands in JSON."""
    plain = json.loads(console.json_text(payload))
    return {key: value for key, value in plain.items() if key not in NOT_FIGURES}


def differences(first: Any, second: Any, path: str = "") -> Differences:
    """What differs, with both values, by its path: keys, and positions in lists of mappings, joined by dots."""
    inner = [_inner(value) for value in (first, second)]
    if inner[0] is None or inner[1] is None:
        same = first == second and type(first) is type(second)
        return {} if same else {path: (first, second)}
    found: Differences = {}
    for key in {**inner[0], **inner[1]}:
        one, other = inner[0].get(key, ABSENT), inner[1].get(key, ABSENT)
        found |= differences(one, other, f"{path}.{key}" if path else key)
    return found


def _inner(value: Any) -> dict[str, Any] | None:
    """A mapping, or a list of mappings by position; None for anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
        return {str(position): entry for position, entry in enumerate(value)}
    return None


def ratio_of(one: Any, other: Any) -> float | None:
    """B in A, of two numbers."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
        return None
    return other / one if one else None


def in_brief(value: Any) -> str:
    """A value for a table, whatever it is."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        text = "[" + ", ".join(map(in_brief, value)) + "]"
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
