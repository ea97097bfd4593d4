"""Pages of the API: what packages declare public, and the modules that others build on, from their docstrings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deeprec_env

FOLDER = "reference"

PAGES: dict[str, tuple[str, ...]] = {
    "scenario": ("scenario", "scenario.parts", "scenario.setting", "scenario.fleet", "scenario.router"),
    "workload": ("workload",),
    "latency": ("latency", "latency.checked"),
    "simulation": ("simulation", "simulation.engine", "simulation.engines", "simulation.windows", "simulation.pool"),
    "envs": ("envs", "envs.wrappers", "envs.vector", "envs.task", "envs.rendering"),
    "analysis": ("analysis", "analysis.sweep", "analysis.day"),
    "fleet": ("fleet.simulate", "fleet.result", "fleet.records"),
    "timeline": ("timeline.explain", "timeline.parts", "timeline.timeline", "timeline.files"),
    "report": ("report.report", "report.page"),
    "policies": ("policies.base", "policies.registry", "policies.controller", "policies.adapted"),
    "evaluation": (
        "policies.evaluation.evaluate",
        "policies.evaluation.evaluation",
        "policies.evaluation.episodes",
        "policies.evaluation.paired",
        "policies.evaluation.recorded",
    ),
    "agents": ("agents.training", "agents.agent", "agents.vec_env", "agents.hyperparams", "agents.storage"),
    "live": ("live.run", "live.recording", "live.replay", "live.worker_pool", "live.service.client"),
    "models": ("models", "models.base", "models.inputs"),
    "profiling": ("profiling.measure", "profiling.profile", "profiling.merge"),
    "executors": ("executors.executor", "executors.processes"),
    "errors": ("errors", "progress", "files"),
}
"""A page, and its modules of `deeprec_env`: of one with `__all__` that, of another all that is public in it."""


def write_reference(source: Path) -> None:
    """Write the pages into the site's sources: Zensical's mkdocstrings puts the docstrings in."""
    (source / FOLDER).mkdir()
    for name, modules in PAGES.items():
        (source / FOLDER / f"{name}.md").write_text(page(name, modules), encoding="utf-8")
    (source / FOLDER / "index.md").write_text(_index(), encoding="utf-8")


def page(name: str, modules: tuple[str, ...]) -> str:
    """A page of modules."""
    parts = [f"# {name}\n"]
    for module in modules:
        parts += _module(f"deeprec_env.{module}")
    return "\n".join(parts)


def _module(path: str) -> Iterator[str]:
    """What stands on a page of a module."""
    module = importlib.import_module(path)
    if not hasattr(module, "__all__"):
        yield f"::: {path}\n"
        return
    yield f"## {path}\n\n{inspect.getdoc(module)}\n"
    for name in module.__all__:
        documented = getattr(module, name)
        if inspect.isclass(documented) or inspect.isfunction(documented):
            options = f"heading: {path}.{name}\n      toc_label: {name}\n      heading_level: 3"
            yield f"::: {_identifier(documented)}\n    options:\n      {options}\n"


def _identifier(documented: Any) -> str:
    """Where an object is defined, which is where its docstring is read."""
    return f"{documented.__module__}.{documented.__qualname__}"


def _index() -> str:
    """What can be imported from the top, and what each page is about."""
    top = [
        f"* [`deeprec_env.{name}`][{_identifier(documented)}]: {_first(documented)}\n"
        for name in deeprec_env.__all__
        if callable(documented := getattr(deeprec_env, name))
    ]
    rows = [
        f"| [{name}]({name}.md) | {_first(importlib.import_module(f'deeprec_env.{modules[0]}'))} |\n"
        for name, modules in PAGES.items()
    ]
    return (
        "# API\n\nFrom the docstrings. Bad input raises [`InputError`][deeprec_env.errors.InputError], which names the "
        f"field, the value and what is allowed.\n\n{''.join(top)}\n| page | |\n| --- | --- |\n{''.join(rows)}"
    )


def _first(documented: Any) -> str:
    """The first sentence of a docstring."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split()).replace("|", "\\|")
