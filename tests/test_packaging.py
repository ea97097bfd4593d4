"""What is built and installed: one top-level name, whatever lies beside the script that imports it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("deeprec_env", "policies", "agents", "pyproject.toml", "README.md", "LICENSE")


def build(kind: str, source: Path, output: Path) -> Path:
    """Build the `wheel` or `sdist` of a folder, without the network."""
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(output)], cwd=source, capture_output=True, check=True)
    (found,) = output.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, so that nothing that was built before gets in; links stay links."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_installs_one_name_with_all_that_belongs_to_it(wheel: Path) -> None:
    files = contents(wheel)
    assert {name.partition("/")[0] for name in files if ".dist-info/" not in name} == {"deeprec_env"}
    package = ROOT / "deeprec_env"
    ours = {
        str(Path(folder, name).relative_to(ROOT))
        for folder, _, names in os.walk(package, followlinks=True)
        for name in names
        if "__pycache__" not in folder
    }
    assert {name for name in files if ".dist-info/" not in name} == ours
    assert {"deeprec_env/policies/evaluate.py", "deeprec_env/agents/train.py", "deeprec_env/py.typed"} <= ours
    assert {name for name in ours if name.startswith("deeprec_env/agents/hyperparams/")} == {
        f"deeprec_env/agents/hyperparams/{path.name}" for path in (ROOT / "agents/hyperparams").glob("*.yml")
    }
    assert all(files[name] == (ROOT / name).read_bytes() for name in ours)


def test_the_source_archive_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", source, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (again := tmp_path / "wheel").mkdir()
    assert contents(build("wheel", unpacked, again)) == contents(wheel)


def run(folder: Path, *words: str, package: Path = ROOT) -> str:
    """What `python -m` of these words prints, run in a folder."""
    environment = os.environ | {"PYTHONPATH": str(package)}
    command = [sys.executable, "-m", *words]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def someone_elses(tmp_path: Path) -> Path:
    """A folder with other people's `agents` and `policies`, which no command of ours may import."""
    for name in ("agents", "policies"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')", encoding="utf-8")
    with pytest.raises(AssertionError, match="the wrong package"):
        run(tmp_path, "agents.train", "--help")
    return tmp_path


def test_commands_run_beside_other_packages_of_these_names(someone_elses: Path) -> None:
    pytest.importorskip("stable_baselines3")
    tiny = "DeepRec/Serving-v1:\n  n_envs: 1\n  n_timesteps: 64\n  n_steps: 32\n  batch_size: 32\n  policy: MlpPolicy\n"
    (someone_elses / "tiny.yml").write_text(tiny, encoding="utf-8")
    words = ["train", "ncf-cpu", "--timesteps", "64", "--hyperparams", "tiny.yml", "--output", "trained", "--json"]
    assert json.loads(run(someone_elses, "deeprec_env", *words))
    assert (someone_elses / "trained" / "last_model.zip").is_file()
    words = ["evaluate", "ncf-cpu", "--policies", "static", "--seeds", "1", "--queries", "2000", "--json"]
    assert set(json.loads(run(someone_elses, "deeprec_env", *words))["policies"]) == {"static"}


def test_the_wheel_itself_runs_beside_them(someone_elses: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(someone_elses / "site")
    assert "deeprec evaluate" in run(
        someone_elses, "deeprec_env.policies.evaluate", "--help", package=someone_elses / "site"
    )


@pytest.mark.parametrize(
    "module",
    [
        "agents.train",
        "agents.evaluate",
        "policies.evaluate",
        "deeprec_env.agents.train",
        "deeprec_env.policies.evaluate",
    ],
)
def test_commands_have_their_other_names(module: str, tmp_path: Path) -> None:
    folder = tmp_path if module.startswith("deeprec_env") else ROOT
    assert "Usage" in run(folder, module, "--help")


def lower_bounds() -> dict[str, str]:
    """The lowest version of everything that the package, with all extras but the tests' tools, depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: wanted for name, wanted in project["optional-dependencies"].items() if name != "test"}
    declared = [line for wanted in (project["dependencies"], *extras.values()) for line in wanted]
    return dict(line.split(">=") for line in declared if not line.startswith("deeprec-env["))


def test_the_lowest_versions_that_are_tested_are_those_declared() -> None:
    pins = re.findall(r"^([\w-]+)==(.+)$", (ROOT / "minimum.txt").read_text(encoding="utf-8"), re.MULTILINE)
    bounds = lower_bounds()
    assert bounds.pop("torch")  # the tests' build is that of constraints.txt
    assert dict(pins) == bounds
    assert len(pins) == len(bounds)
