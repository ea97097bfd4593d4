"""Results of commands in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MODEL_PROFILE
from tests.test_cli import call

PROFILE = MODEL_PROFILE.replace("cpu,100,", "cpu,1000,")  # as large as queries are

SIMULATE = ("--queries", 1500, "--seed", 3, "--split", "test", "--batch-size", 64, "--set", "sla_ms=33")


def written(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: object) -> Path:
    """What a command prints with --json, in a file."""
    status, out, err = call(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    path = folder / "result.json"
    path.write_text(out, encoding="utf-8")
    return path


def changed(path: Path, *keys: str | int, value: Any) -> Path:
    """The result with another value at a key path."""
    data = json.loads(path.read_text(encoding="utf-8"))
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    other = path.with_name("changed.json")
    other.write_text(json.dumps(data), encoding="utf-8")
    return other
