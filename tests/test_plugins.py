"""What users add, by the package that docs/extending.md shows: installed as a distribution, or as a file."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from deeprec_env import InputError, load_scenario, simulate
from deeprec_env.envs import CAPACITY, SERVING
from deeprec_env.plugins import load_plugin
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import is_agent, prepare
from deeprec_env.scenario.parts import LATENCIES
from deeprec_env.scenario.setting import Setting
from tests.docs import blocks
from tests.test_cli import call, payload

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
OPTIONS = ("--queries", 1500)


def install(folder: Path, name: str, module: str, groups: dict[str, dict[str, str]]) -> None:
    """Write a module and the metadata that an installer leaves behind."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name.replace('-', '_')}.py").write_text(module, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages that holds the documentation's."""
    project = tomllib.loads(blocks(PAGE, "toml")[0])["project"]
    folder = tmp_path / "site"
    install(folder, project["name"], blocks(PAGE, "python")[0], project["entry-points"])
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The documentation's scenario."""
    path = tmp_path / "mine.yaml"
    path.write_text(blocks(PAGE, "yaml")[0], encoding="utf-8")
    return path


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(site)
    return site


def deeprec(*arguments: object, cwd: Path, path: Path | None = None) -> str:
    """Run the command in a fresh process, which like an installed one does not look in the working directory."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, *([path] if path else [])]))}
    command = [sys.executable, "-P", "-m", "deeprec_env", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_documented_package_is_used_by_name(
    installed: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = payload(capsys, "simulate", mine, "--batch-size", 1000, *OPTIONS)
    assert result["devices"] == {"cpu": ["root"]}
    assert result["qps_offered"] == pytest.approx(400)
    assert result["latency_ms"]["p50"] == pytest.approx(5.0)  # 0.5 ms x the square root of 100
    names = ["by-backlog", "my_serving:by_backlog"]
    found = payload(capsys, "evaluate", mine, "--policies", ",".join(names), "--seeds", 1, *OPTIONS)["policies"]
    assert found["by-backlog"]["setting"] == "adaptive"
    assert found["by-backlog"]["capacity_qps"] > 0
    assert found["by-backlog"]["vs"]["my_serving:by_backlog"]["ratio"] == 1.0


def test_names_are_listed_in_help_and_errors(site: Path, mine: Path) -> None:
    assert "by-backlog" in deeprec("evaluate", "--help", cwd=site.parent, path=site)
    assert "by-backlog" not in deeprec("evaluate", "--help", cwd=site.parent)


def test_errors_list_what_is_installed(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = call(capsys, "evaluate", "wnd", "--policies", "guess")
    assert "specialist, by-backlog, or the path" in err
    _, _, err = call(capsys, "simulate", "wnd", "--set", "workload.sizes.kind=guess")
    assert "production, two-sizes" in err


def test_a_file_in_the_working_directory_will_do(site: Path, mine: Path) -> None:
    text = mine.read_text(encoding="utf-8")
    for kind, name in (("regular", "Regular"), ("two-sizes", "TwoSizes"), ("root", "SquareRoot")):
        text = text.replace(f"kind: {kind}", f'kind: "my_serving:{name}"')
    (site / "mine.yaml").write_text(text, encoding="utf-8")
    assert "my_serving:SquareRoot" in deeprec("simulate", "mine.yaml", *OPTIONS, cwd=site)


def test_the_same_class_by_either_name_gives_the_same_run(installed: Path, mine: Path) -> None:
    by_name = simulate(mine, queries=1500)
    by_class = simulate(load_scenario(mine, {"node.cpu.latency.kind": "my_serving:SquareRoot"}), queries=1500)
    assert by_name.records is not None
    assert by_class.records is not None
    assert by_name.records.completion_s.tobytes() == by_class.records.completion_s.tobytes()


BROKEN = {
    "deeprec_env.latencies": {
        "missing-module": "no_such_module:Latency",
        "missing-class": "broken_package:NoSuch",
        "no-latency": "broken_package:Plain",
        "unfinished": "broken_package:Unfinished",
        "affine": "broken_package:Plain",
    },
    "deeprec_env.arrivals": {"failing": "failing_package:Arrivals"},
    "deeprec_env.policies": {
        "missing-policy": "no_such_module:prepare",
        "number": "broken_package:NUMBER",
        "unprepared": "broken_package:unprepared",
        "failing-policy": "broken_package:failing",
        "policy-class": "broken_package:OfScenario",
    },
}
MODULE = """
from deeprec_env.scenario.parts import LatencyModel
class Plain: pass
class Unfinished(LatencyModel): pass
NUMBER = 3
def unprepared(scenario, options, progress): return 3
def failing(scenario, options, progress): return scenario.thresholds.index(641)
class OfScenario:
    def __init__(self, scenario): pass
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "broken-package", MODULE, BROKEN)
    (tmp_path / "site" / "failing_package.py").write_text("raise RuntimeError('no\\nlicence')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (
            "node.cpu.latency={kind: missing-module}",
            ["node.cpu.latency.kind: got 'missing-module'", "'no_such_module:Latency'", "in package broken-package"],
        ),
        ("node.cpu.latency={kind: missing-class}", ["'broken_package:NoSuch'", "can't be imported (AttributeError"]),
        (
            "node.cpu.latency={kind: no-latency}",
            ["'broken_package:Plain'", "must be a class derived from LatencyModel"],
        ),
        ("node.cpu.latency={kind: unfinished}", ["must be a class derived from LatencyModel, with all its methods"]),
        ("workload.arrivals={kind: failing}", ["entry point 'failing_package:Arrivals'", "RuntimeError: no licence"]),
        ("node.cpu.latency={kind: 'no_such_module:X'}", ["got 'no_such_module:X'; can't be imported (ModuleNotFound"]),
        ("node.cpu.latency={kind: 'math:pi'}", ["got 'math:pi'; must be a class derived from LatencyModel"]),
        ("node.cpu.latency={kind: ':'}", ["got ':'; can't be imported (ValueError"]),
    ],
)
def test_a_broken_kind_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str], change: str, messages: list[str]
) -> None:
    status, out, err = call(capsys, "simulate", "wnd", "--set", change)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert [message for message in messages if message not in err] == [], err


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing-policy", "entry point 'no_such_module:prepare' of deeprec_env.policies in package broken-package"),
        ("number", "must be a function (scenario, options, progress)"),
        ("policy-class", "in package broken-package must be a function (scenario, options, progress)"),
        ("unprepared", "must return a deeprec_env.policies.base.TunedPolicy, or an object with predict, not int"),
        ("no_such_module:prepare", "policy: got 'no_such_module:prepare'; can't be imported"),
        ("failing-policy", "broken_package.py:7: ValueError: tuple.index(x): x not in tuple"),
    ],
)
def test_a_broken_policy_is_one_line_that_names_it(capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    status, out, err = call(capsys, "evaluate", "wnd", "--policies", name, "--seeds", 1)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.usefixtures("broken")
def test_a_schema_needs_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, "schema")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "kind: got 'failing'; entry point 'failing_package:Arrivals'" in err


@pytest.mark.usefixtures("broken")
def test_broken_ones_harm_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing-module" in LATENCIES.kinds()
    affine: dict[str, Any] = {"kind": "affine", "base_ms": 1, "per_item_ms": 0.01}  # ours: not to be replaced
    assert load_scenario("wnd", {"node.cpu.latency": affine}).stages[0].cpu.latency.kind == "affine"
    status, _, _ = call(capsys, "evaluate", "--help")
    assert status == 0


def test_a_name_that_two_packages_declare_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"deeprec_env.sizes": {"twice": "one:Sizes"}}
    for name in ("one", "another"):
        install(tmp_path / "site", name, "", group)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(InputError, match=r"several packages \((one, another|another, one)\)"):
        load_scenario("wnd", {"workload.sizes": yaml.safe_load("kind: twice")})


def test_the_schema_knows_their_kinds(installed: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "schema")
    schema, data = Draft202012Validator(json.loads(out)), yaml.safe_load(mine.read_text(encoding="utf-8"))
    schema.validate(data)
    data["node"]["cpu"]["latency"]["ms"] = -1
    assert not schema.is_valid(data)


AGENTS = """
from deeprec_env.policies.base import fixed
from deeprec_env.scenario.setting import Setting
def load(path, scenario, environment):
    return fixed(scenario, Setting(int(path))) if environment == "DeepRec/Serving-v1" else None
"""


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages with loaders of agents: two declare `theirs`, none ours."""
    for name, group in (
        ("my-agents", {"mine": "my_agents:load", "theirs": "my_agents:load"}),
        ("no-agents", {"theirs": "no_agents:load"}),
    ):
        install(tmp_path / "site", name, AGENTS, {"deeprec_env.agents": group})
    monkeypatch.syspath_prepend(tmp_path / "site")  # before ours: its loaders are found first
    return tmp_path / "site"


def test_an_agent_is_loaded_by_the_loader_that_is_named(
    loaders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, progress, options = load_scenario("wnd"), lambda what: None, TuneOptions()
    assert is_agent("mine:48")
    assert prepare("mine:48", scenario, options, progress).setting == Setting(48)
    for name, environment, message in (
        (
            "theirs:48",
            SERVING,
            r"of deeprec_env.agents is declared by several packages \((my|no)-agents, (my|no)-agents",
        ),
        ("mine:48", CAPACITY, "must be loaded as deeprec_env.policies.base.TunedPolicy, not NoneType"),
    ):
        with pytest.raises(InputError, match=message):
            prepare(name, scenario, options, progress, environment)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine:48").mkdir()  # a path that is there is a path
    pytest.importorskip("stable_baselines3")
    with pytest.raises(InputError, match=r"must be a policy's name, a training's folder or its \*_model.zip"):
        prepare("mine:48", scenario, options, progress)


def test_the_working_directory_is_looked_into_for_the_named_module_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_by_user.py").write_text("import beside_it\nSEEN = beside_it.SEEN\n", encoding="utf-8")
    (tmp_path / "beside_it.py").write_text("SEEN = [1]\n", encoding="utf-8")
    (tmp_path / "broken_by_user.py").write_text("import named_by_nobody, no_such_module\n", encoding="utf-8")
    (tmp_path / "named_by_nobody.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    before = list(sys.path)
    assert load_plugin("field", "no.group", "named_by_user:SEEN", lambda found: True, "") == [1]
    assert sys.path == before
    with pytest.raises(InputError, match="No module named 'no_such_module'"):
        load_plugin("field", "no.group", "broken_by_user:X", lambda found: True, "")
    assert sys.path == before
    sys.modules.pop("named_by_nobody")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("named_by_nobody")
