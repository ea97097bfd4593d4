"""What is not installed unless it is asked for, and what to say where it is missing."""

from __future__ import annotations

import functools
import importlib.util
import sys

from deeprec_env.errors import NotInstalled

EXTRAS = {
    "torch": "agents",
    "stable_baselines3": "agents",
    "sb3_contrib": "agents",
    "tensorboard": "agents",
    "matplotlib": "plots",
    "moviepy": "video",
    "pyarrow": "parquet",
    "optuna": "search",
    "ray": "cluster",
    "pandas": "pandas",
    "perfetto": "timeline",
    "starlette": "serve",
    "uvicorn": "serve",
    "httptools": "serve",
    "prometheus_client": "serve",
    "zensical": "docs",
    "mkdocstrings_handlers": "docs",
}
"""The extra of this package that brings each module."""


def not_installed(error: ModuleNotFoundError) -> NotInstalled | None:
    """The error to show for a module of an extra that could not be imported; None for any other module."""
    module = (error.name or "").partition(".")[0]
    return NotInstalled(module, EXTRAS[module]) if module in EXTRAS else None


def is_installed(module: str) -> bool:
    """Whether a module of an extra can be imported; it is not imported for it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def check_installed(module: str) -> None:
    """Raise `NotInstalled` unless the module of an extra is there; called before long work starts."""
    if not is_installed(module):
        raise NotInstalled(module, EXTRAS[module])


@functools.cache
def can_plot() -> bool:
    """Whether pictures can be drawn; where not, it says so, once: tables are written all the same."""
    if is_installed("matplotlib"):
        return True
    print(f"warning: {NotInstalled('matplotlib', EXTRAS['matplotlib'])}; no pictures are drawn", file=sys.stderr)
    return False
