"""What is said where an extra is not installed: one line that names it, or less work; modules are hidden for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env.errors import NotInstalled
from deeprec_env.extras import is_installed, not_installed
from tests.conftest import MODEL_PROFILE, day_scenario
from tests.recpipe.spaces import small_space

ROOT = Path(__file__).resolve().parents[1]

HIDING = """
import contextlib, io, json, runpy, sys

hidden, calls = json.loads(sys.argv[1])


class Hider:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hider())
for module, *arguments in calls:
    sys.argv = [module, *arguments]
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as stopped:
            status = stopped.code or 0
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


def run_without(hidden: list[str], calls: list[list[str]], folder: Path) -> list[tuple[int, str, str]]:
    """Status, stdout and stderr of modules run as programs, in one process that lacks some modules."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HIDING, json.dumps([hidden, calls])]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return [tuple(json.loads(line)) for line in ran.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a scenario, and a trained agent by the names of its files."""
    data: dict[str, Any] = day_scenario()
    data["control"] |= {"batch_sizes": [64], "thresholds": [400]}
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "best_model.zip").write_bytes(b"")
    return tmp_path


def test_without_torch_one_line_names_the_extra(folder: Path) -> None:
    calls = [
        ["deeprec_env", "profile", "ncf"],
        ["deeprec_env", "profile", "ncf", "--operators"],
        ["deeprec_env", "evaluate", "node.yaml", "--policies", "agent", "--queries", "1100"],
        ["deeprec_env", "train", "node.yaml"],
        ["deeprec_env", "quality", "train"],
        ["deeprec_env", "quality", "table"],
        ["deeprec_env.agents.train", "node.yaml"],
        ["deeprec_env.agents.evaluate", "agent"],
        ["deeprec_env.agents.demo"],
    ]
    for call, found in zip(calls, run_without(["torch", "stable_baselines3"], calls, folder), strict=True):
        status, out, err = found
        assert (status, out, err.count("\n")) == (2, "", 1), (call, found)
        assert "is not installed: pip install 'deeprec-env[agents]'" in err, call
    assert {path.name for path in folder.iterdir()} == {"node.yaml", "agent"}


def test_without_optuna_a_search_says_so_before_it_begins(folder: Path) -> None:
    pytest.importorskip("stable_baselines3")
    calls = [["deeprec_env", "train", "node.yaml", "--search", "--trials", "2", "--output", "out"]]
    (found,) = run_without(["optuna"], calls, folder)
    assert found == (2, "", "error: optuna is not installed: pip install 'deeprec-env[search]'\n")
    assert not (folder / "out").exists()


def test_without_uvicorn_serve_says_so_before_it_begins(folder: Path) -> None:
    calls = [["deeprec_env", "serve", "node.yaml", "--model", "empty"]]
    (found,) = run_without(["uvicorn", "starlette"], calls, folder)
    assert found == (2, "", "error: starlette is not installed: pip install 'deeprec-env[serve]'\n")


def test_profiles_are_merged_and_compared_without_torch(folder: Path) -> None:
    for name in ("first.csv", "second.csv"):
        (folder / name).write_text(MODEL_PROFILE, encoding="utf-8")
    calls = [
        ["deeprec_env.profiling.merge", "merged.csv", "first.csv", "second.csv"],
        ["deeprec_env.profiling.agreement", "merged.csv", "first.csv"],
        ["deeprec_env.profiling.agreement", "merged.csv", "none.csv"],
        ["deeprec_env.profiling.agreement", "merged.csv"],
        ["deeprec_env.envs.table"],
    ]
    merged, agreed, missing, short, table = run_without(["torch"], calls, folder)
    assert merged == (0, "", "")
    assert (agreed[0], "all: median size 0.0 %" in agreed[1]) == (0, True)
    assert (missing[0], missing[2].count("\n"), short[0], short[2].count("\n")) == (2, 1, 2, 1)
    assert table[0] == "python -m deeprec_env.envs.table FILE.md"


def test_without_matplotlib_tables_are_written_all_the_same(folder: Path) -> None:
    calls = [
        ["deeprec_env", "capacity", "node.yaml", "--sweep", "--queries", "1500", "--output", "map", "--json"],
        ["deeprec_env", "profile", "compare", "amd-epyc-milan", "amd-epyc-turin", "--output", "speed", "--json"],
        ["deeprec_env", "pipeline", "figure", "11"],
    ]
    swept, compared, figure = run_without(["matplotlib"], calls, folder)
    warning = "matplotlib is not installed: pip install 'deeprec-env[plots]'"
    assert swept[0] == compared[0] == 0
    assert f"warning: {warning}; no pictures are drawn\n" in swept[2]
    assert json.loads(swept[1])["png"] is json.loads(compared[1])["picture"] is None
    assert [path.name for path in sorted((folder / "map").iterdir())] == ["capacity.csv"]
    assert [path.name for path in sorted((folder / "speed").iterdir())] == ["speed_up.csv"]
    assert figure == (2, "", f"error: {warning}\n")
    assert not (folder / "runs").exists()


def test_what_is_refused_says_one_thing_even_where_everything_is_missing(folder: Path) -> None:
    """Not that pictures can't be drawn either, where no table will be written."""
    config = folder / "space.yaml"
    config.write_text(yaml.safe_dump(small_space()), encoding="utf-8")
    extras = {
        ("pipeline", "sweep", str(config), "--parquet"): "parquet",
        ("pipeline", "sweep", str(config), "--sampler", "optuna"): "search",
        ("profile", "ncf", "--operators", "--pictures", "svg"): "agents",
        ("simulate", "node.yaml", "--records", "r.parquet"): "parquet",
        ("pipeline", "figure", "2", "--pictures", "pdf"): "plots",
    }
    calls = [["deeprec_env", *words] for words in extras]
    found = run_without(["torch", "matplotlib", "pyarrow", "optuna"], calls, folder)
    for (words, extra), (status, out, err) in zip(extras.items(), found, strict=True):
        assert (status, out, err.count("\n")) == (2, "", 1), (words, err)
        assert f"is not installed: pip install 'deeprec-env[{extra}]'" in err
    assert {path.name for path in folder.iterdir()} == {"node.yaml", "agent", "space.yaml"}


def test_a_module_of_no_extra_is_a_defect_and_stays_one() -> None:
    assert not_installed(ModuleNotFoundError("No module named 'nowhere'", name="nowhere")) is None
    missing = not_installed(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert isinstance(missing, NotInstalled)
    assert str(missing) == "torch is not installed: pip install 'deeprec-env[agents]'"
    assert not is_installed("nowhere_at_all")
