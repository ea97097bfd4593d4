"""Compiling inner loops with Numba, cached between processes where a folder can be written."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba import njit
from numba.core import config, event

from deeprec_env.sources import COMPILED, PACKAGE, sources_digest

_PREFIX = "compiled-"


P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: compile on the first call, keep the result for the next process, release the GIL while it runs.

    Floats are added and multiplied as written (no contraction, no reordering), so that the results are NumPy's.
    """
    return _compiled(function, counts=True)


def uncounted(function: Callable[P, R]) -> Callable[P, R]:
    """`compiled`, made part of its compiled callers, and without counting references to arrays: for inner loops.

    Elsewhere a call counts every array handed over, a view of a row counts itself, and a look at an array in a tuple
    too, each of which takes longer than what is done with a few numbers. Such a function makes no array but views, and
    takes none from those that it calls: nobody would free it.
    """
    return _compiled(function, counts=False)


def _compiled(function: Callable[P, R], *, counts: bool) -> Callable[P, R]:
    options: dict[str, Any] = {"nogil": True, "_nrt": counts, "forceinline": not counts}
    folder = cache_folder()
    if folder is None:
        decorated: Callable[P, R] = njit(**options)(function)
        return decorated
    with _numba_caches_in(folder):
        decorated = njit(cache=True, **options)(function)
        return decorated


@functools.cache
def cache_folder() -> Path | None:
    """Where compiled code is kept; None, with a warning, where nothing can be written.

    One folder for each state of the sources: Numba itself looks for changes in the file of a function alone,
    not in those of the functions it calls.
    """
    name = _PREFIX + sources_digest(COMPILED)
    own = PACKAGE / "__pycache__"
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeprec-env"
    given = config.CACHE_DIR  # type: ignore[attr-defined]
    for parent in (Path(given),) if given else (own, users):
        with contextlib.suppress(OSError):
            (parent / name).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=parent / name).close()
            if parent == own:
                _remove_others(parent, name)
            return parent / name
    warnings.warn(
        "no folder for compiled code can be written (set NUMBA_CACHE_DIR): it is compiled anew in every process",
        stacklevel=4,
    )
    return None


def _remove_others(parent: Path, name: str) -> None:
    """Remove what was compiled from other sources than those beside it."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.name != name:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _numba_caches_in(folder: Path) -> Iterator[None]:
    """Numba asks for its folder when a function is decorated; other people's functions keep theirs."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]


class _SayOnce(event.Listener):
    """One line on stderr when the first function is compiled, and not loaded: that takes a while."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: event.Event) -> None:
        if not self._said and Path(event.data["dispatcher"].py_func.__code__.co_filename).is_relative_to(PACKAGE):
            self._said = True
            kept = "once: it is kept" if cache_folder() else "in every process: it can't be kept"
            print(f"deeprec-env: compiling what this run needs, up to a minute ({kept})", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _SayOnce())  # type: ignore[no-untyped-call]
