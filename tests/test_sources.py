"""Digests of the sources, and what is kept under them."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeprec_env import sources
from deeprec_env.analysis.day import with_day
from deeprec_env.sources import COMPILED, PACKAGE, RESULTS, sources_digest
from tests.conftest import queue


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The package as an installer lays it down: no links, another folder."""
    return shutil.copytree(PACKAGE, tmp_path / "site" / "deeprec_env", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def elsewhere(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The copy, whose sources are now the ones that count."""
    monkeypatch.setattr(sources, "PACKAGE", copied)
    sources_digest.cache_clear()
    yield copied
    sources_digest.cache_clear()


def change(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\n# another rule\n", encoding="utf-8")
    sources_digest.cache_clear()


def test_an_installed_package_has_the_digest_of_its_sources(copied: Path) -> None:
    program = "from deeprec_env import sources; print(sources.PACKAGE, sources.sources_digest())"
    environment = os.environ | {"PYTHONPATH": str(copied.parent)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=copied.parent, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(copied), sources_digest()], done.stderr


def test_every_change_of_the_sources_is_another_digest(elsewhere: Path) -> None:
    seen = {sources_digest()}
    compiled = sources_digest(COMPILED)
    change(elsewhere / "analysis" / "capacity.py")
    assert sources_digest(COMPILED) == compiled  # no reason to compile anew
    seen.add(sources_digest())
    for name in ("scenario/bounds.py", "recpipe/chip/systolic.py", "jit.py"):
        change(elsewhere / name)
        seen.add(sources_digest())
    (elsewhere / "latency" / "kairos.py").rename(elsewhere / "latency" / "another.py")
    sources_digest.cache_clear()
    seen.add(sources_digest())
    assert len(seen) == 6
    assert sources_digest(COMPILED) != compiled


def test_a_capacity_of_other_sources_is_found_anew(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scenario = queue(2, {"kind": "constant", "ms": 10}, 10.0, sla_ms=50)
    first = with_day(scenario).capacity
    (kept,) = (tmp_path / "cache").rglob("capacity-*.json")
    assert first is not None
    kept.write_text(kept.read_text(encoding="utf-8").replace(str(first.qps), "77.0"), encoding="utf-8")
    remembered = with_day(scenario).capacity
    assert remembered is not None
    assert remembered.qps == 77.0
    change(elsewhere / "analysis" / "steady.py")
    assert with_day(scenario).capacity == first


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, a package for what is taken from its `__init__`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {name.removeprefix("deeprec_env.") for name in names if name.startswith("deeprec_env.")}
    files = {Path(*name.split(".")) for name in ours}
    return {str(file.with_suffix(".py")) for file in files if (PACKAGE / file).with_suffix(".py").is_file()}


def test_compiled_code_is_made_of_the_sources_in_its_digest() -> None:
    covered = {
        str(file.relative_to(PACKAGE))
        for name in COMPILED
        for file in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py"))
    }
    users = [path for path in PACKAGE.rglob("*.py") if "\n@compiled\n" in path.read_text(encoding="utf-8")]
    assert PACKAGE / "simulation" / "node.py" in users
    for path in users:
        assert str(path.relative_to(PACKAGE)) in covered
        assert imported(path) - covered == set(), path
    assert set(COMPILED) < set(RESULTS)


def test_every_name_of_the_digest_is_there() -> None:
    missing = [name for name in RESULTS if not (PACKAGE / name).exists()]
    assert missing == []
