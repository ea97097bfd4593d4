"""Digests of the package's sources: what was computed by other code is not taken for what this code would compute."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from deeprec_env.errors import InputError

PACKAGE = Path(__file__).parent

COMPILED = ("errors.py", "fleet", "jit.py", "latency", "models", "recpipe", "scenario", "simulation", "workload")
"""Everything in the package that compiled code is made of: files, and folders."""

RESULTS = (*COMPILED, "analysis")
"""Everything in the package that decides a capacity, or a run."""

_LABEL = ", sources "


@functools.cache
def sources_digest(names: Sequence[str] = RESULTS) -> str:
    """SHA-256, 16 digits of it, over the Python files of some files and folders of the package, names and contents."""
    digest = hashlib.sha256()
    for name in names:
        path = PACKAGE / name
        for source in [path] if path.is_file() else sorted(path.rglob("*.py")):
            content = source.read_bytes()
            digest.update(f"{source.relative_to(PACKAGE).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


def with_sources(header: str, names: Sequence[str] = RESULTS) -> str:
    """The first line of a table that is kept between runs, and that says which sources computed it."""
    return f"{header}{_LABEL}{sources_digest(names)}"


def check_header(path: Path, found: str, header: str, otherwise: str) -> None:
    """Raise `InputError` unless the first line of a table is `header`, made by `with_sources`.

    `otherwise` says what the table holds if it is more than the sources that differ.
    """
    if found == header:
        return
    before, after = found.partition(_LABEL)[0], header.partition(_LABEL)[0]
    if before == after:
        otherwise = "was computed by another version of the code; remove it to begin anew, or name another folder"
    raise InputError("output", str(path), otherwise)
