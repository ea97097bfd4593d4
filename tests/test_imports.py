"""Who imports whom: layers without circles, each module under one name, and `__init__` files that only name things."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import blocks

ROOT = Path(__file__).resolve().parents[1]

LAYERS = (
    {"errors", "layout", "progress", "version"},
    {"arguments", "extras", "memory"},
    {"console", "cores", "files", "plugins", "sources", "yaml_text"},
    {"executors", "jit", "pictures", "shown"},
    {"scenario"},
    {"latency", "provenance", "workload"},
    {"pipeline", "simulation"},
    {"analysis", "envs", "fleet", "models"},
    {"policies", "profiling", "quality", "recpipe", "timeline"},
    {"agents", "live"},
    {"report"},
    {"cli"},
    {"__main__", "agents.evaluate", "agents.train", "policies.evaluate"},
)
"""Rooms of the package, from the ground up. A room may import those below it, and not its neighbours.

On top are the commands by other names, `python -m`, which are modules of other rooms that nobody imports.
"""


def sources(folder: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(at) / name for name in files if name.endswith(".py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sources(ROOT / "deeprec_env")}


@functools.cache
def imported(code: str) -> list[tuple[str, str]]:
    """Every import of some code, those inside of functions too: (module, name), the name empty for a whole module."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found += (("." * node.level + (node.module or ""), alias.name) for alias in node.names)
    return found


def modules_imported(name: str) -> set[str]:
    """The modules of the package that one imports."""
    found = set()
    for module, attribute in imported(MODULES[name].read_text(encoding="utf-8")):
        whole = f"{module}.{attribute}"
        found |= {whole if whole in MODULES else module} & MODULES.keys()
    return found


def layer(name: str) -> tuple[int, str]:
    """The layer and the room of a module: the room is its first name below the package, or the module itself."""
    below = name.removeprefix("deeprec_env.")
    for room in (below, below.partition(".")[0]):
        for height, rooms in enumerate(LAYERS):
            if room in rooms:
                return height, room
    raise AssertionError(f"{name} has no place in LAYERS")


def against_the_layers(imports: dict[str, set[str]]) -> list[str]:
    found = []
    for name, others in imports.items():
        height, room = layer(name)
        for other in others:
            below, other_room = layer(other)
            if other_room != room and below >= height:
                found.append(f"{name} imports {other}")
    return sorted(found)


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves, through others or not."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        ahead = list(imports[start])
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += imports.get(name, ())
        return found

    return sorted(name for name in imports if name in reached(name))


IMPORTS = {name: modules_imported(name) for name in MODULES if name != "deeprec_env"}
"""Without the package's own `__init__`, which is on top of the rooms that it shows."""


def test_layers_are_kept() -> None:
    assert len(IMPORTS) > 150
    assert against_the_layers(IMPORTS) == []


def test_there_are_no_circles() -> None:
    assert circles(IMPORTS) == []


def test_what_breaks_the_layers_would_be_noticed() -> None:
    assert against_the_layers({"deeprec_env.envs.task": {"deeprec_env.policies.base"}}) != []
    assert against_the_layers({"deeprec_env.envs.task": {"deeprec_env.analysis.capacity"}}) != []
    assert against_the_layers({"deeprec_env.policies.base": {"deeprec_env.policies.evaluate"}}) != []
    with pytest.raises(AssertionError, match="no place"):
        layer("deeprec_env.attic.box")
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_the_package_imports_its_modules_and_not_itself() -> None:
    for name, path in MODULES.items():
        for module, attribute in imported(path.read_text(encoding="utf-8")):
            assert not module.startswith("."), name
            assert module != "deeprec_env" or f"{module}.{attribute}" in MODULES, name


def code_in_the_tree() -> Iterator[tuple[str, str]]:
    for folder in ("deeprec_env", "tests", "benchmarks", "examples"):
        yield from ((str(path), path.read_text(encoding="utf-8")) for path in sources(ROOT / folder))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        yield from ((str(page), block) for block in blocks(page, "python"))


def names_another_package(code: str) -> bool:
    """Whether it imports `agents` or `policies`: whoever has folders of these names beside his script means those."""
    return any(module.partition(".")[0] in ("agents", "policies") for module, _ in imported(code))


def test_policies_and_agents_have_one_name_in_the_tree() -> None:
    found = list(code_in_the_tree())
    assert {Path(where).suffix for where, _ in found} == {".py", ".md"}
    assert [where for where, code in found if names_another_package(code)] == []
    assert names_another_package("def later():\n    from agents.train import main")
    assert not names_another_package("from deeprec_env.agents import train")


TWICE = """
import contextlib, io, pkgutil, importlib, sys
from pathlib import Path
import deeprec_env
for module in pkgutil.walk_packages(deeprec_env.__path__, "deeprec_env."):
    importlib.import_module(module.name)
from deeprec_env.cli.main import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
    main(["simulate", "ncf-cpu", "--queries", "1100", "--json"])
assert '"verdict"' in out.getvalue()
for name, module in list(sys.modules.items()):
    file = Path(getattr(module, "__file__", None) or "")
    if file.is_absolute() and file.is_relative_to(Path.cwd()) and "site-packages" not in file.parts:
        print(name, file.resolve())
"""


def test_no_module_is_loaded_under_two_names() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TWICE]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    loaded = [line.split(" ", 1) for line in ran.stdout.splitlines()]
    assert {name for name, _ in loaded} == set(MODULES)
    assert len({file for _, file in loaded}) == len(loaded)


def side_effects(code: str) -> list[str]:
    """The statements that do something when they are run, beside naming things."""
    found = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            continue
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) else None
        if value is None or any(isinstance(inner, ast.Call | ast.Await | ast.NamedExpr) for inner in ast.walk(value)):
            found.append(ast.unparse(node))
    return found


def test_init_files_only_name_things() -> None:
    found = {
        name: side_effects(path.read_text(encoding="utf-8"))
        for name, path in MODULES.items()
        if path.name == "__init__.py"
    }
    assert found.pop("deeprec_env") == ["register_environments()"]
    assert {name: effects for name, effects in found.items() if effects} == {}
    assert side_effects('"""Doc."""\nimport os\nX = {}\nprint(X)\nif X: pass') == ["print(X)", "if X:\n    pass"]
