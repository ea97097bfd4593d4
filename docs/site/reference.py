"""Pages of the API: what packages declare public, and the modules that others build on, from their docstrings.

Sources are read, not imported, so that no extra has to be installed for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from docs.site.pages import ROOT

if TYPE_CHECKING:
    from griffe import Alias, Object

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
    "models": ("models", "models.inputs"),
    "profiling": ("profiling.measure", "profiling.profile", "profiling.merge"),
    "executors": ("executors.executor", "executors.processes"),
    "errors": ("errors", "progress", "files"),
}
"""A page, and its modules of `deeprec_env`: of one with `__all__` that, of another all that is public in it."""


def write_reference(source: Path) -> None:
    """Write the pages into the site's sources: Zensical's mkdocstrings puts the docstrings in."""
    (source / FOLDER).mkdir()
    package = read()
    for name, modules in PAGES.items():
        parts = [f"# {name}\n", *(part for module in modules for part in _module(package[module]))]
        (source / FOLDER / f"{name}.md").write_text("\n".join(parts), encoding="utf-8")
    (source / FOLDER / "index.md").write_text(_index(package), encoding="utf-8")


def read() -> Object | Alias:
    """The package as its sources say it."""
    import griffe

    return griffe.load("deeprec_env", search_paths=[ROOT], resolve_aliases=True)


def public(package: Object | Alias) -> dict[str, Object | Alias]:
    """The classes and functions that a package declares public, by their names in it."""
    import griffe

    found: dict[str, Object | Alias] = {}
    for name in map(str, package.exports or ()):
        member = package.members.get(name)
        if member is None:
            continue
        target: Object | Alias = member.final_target if isinstance(member, griffe.Alias) else member
        if target.is_module:  # of the same name as the function in it that is meant
            target = target.members.get(name, target)
        if target.is_class or target.is_function:
            found[name] = target
    return found


def _module(module: Object | Alias) -> Iterator[str]:
    """What stands on a page of a module."""
    if module.exports is None:
        yield f"::: {module.path}\n"
        return
    yield f"## {module.path}\n\n{module.docstring.value if module.docstring else ''}\n"
    for name, target in public(module).items():
        options = f"heading: {module.path}.{name}\n      toc_label: {name}\n      heading_level: 3"
        yield f"::: {target.path}\n    options:\n      {options}\n"


def _index(package: Object | Alias) -> str:
    """What can be imported from the top, and what each page is about."""
    top = [f"* [`deeprec_env.{name}`][{target.path}]: {_first(target)}\n" for name, target in public(package).items()]
    rows = [f"| [{name}]({name}.md) | {_first(package[modules[0]])} |\n" for name, modules in PAGES.items()]
    return (
        "# API\n\nFrom the docstrings. Bad input raises [`InputError`][deeprec_env.errors.InputError], which names the "
        f"field, the value and what is allowed.\n\n{''.join(top)}\n| page | about |\n| --- | --- |\n{''.join(rows)}"
    )


def _first(documented: Object | Alias) -> str:
    """The first paragraph of a docstring, as a cell of a table."""
    text = documented.docstring.value if documented.docstring else ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")
