from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env import __version__
from deeprec_env.cli.main import main
from deeprec_env.policies import presets
from deeprec_env.scenario.load import load_scenario
from tests.conftest import MODEL_PROFILE, day_scenario


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    # Whichever test is the first to need a kernel is told that it is compiled.
    said = [line for line in captured.err.splitlines(keepends=True) if not line.startswith("deeprec-env: compiling")]
    return int(stopped.value.code or 0), captured.out, "".join(said)


def payload(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status, out, err = call(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    parsed: dict[str, Any] = json.loads(out)
    assert parsed["schema_version"] == 1
    return parsed


def test_the_module_and_the_command_are_the_same() -> None:
    command = Path(sys.executable).with_name("deeprec")
    outputs = [
        subprocess.run([*start, "--version"], capture_output=True, text=True, check=True).stdout
        for start in ([str(command)], [sys.executable, "-m", "deeprec_env"])
    ]
    assert outputs == [f"deeprec-env {__version__}\n"] * 2


def test_scenarios_lists_and_prints_presets(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "scenarios")
    assert status == 0
    assert "dlrm-rmc1-cpu" in out.split()
    status, out, _ = call(capsys, "scenarios", "wnd")
    assert yaml.safe_load(out)["sla_ms"] == 25
    assert payload(capsys, "scenarios", "wnd")["sla_ms"] == 25
    listed = payload(capsys, "scenarios")
    assert "wnd" in listed["scenarios"]
    assert listed["described"]["wnd"] == {
        "model": "wnd", "stages": 1, "plans": 0, "servers": {"cpu": [40], "accelerator": [1]},
        "sla_ms": 25.0, "capacity_qps": 3760.45,
    }  # fmt: skip


def test_scenarios_says_in_a_line_each_what_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(capsys, "scenarios")[1].splitlines()
    assert max(map(len, lines)) <= 80
    assert ["kairos-rm2-skylake-t4", "rm2", "40", "1", "400", "491"] in [line.split() for line in lines]
    assert ["recpipe-cpu", "4", "7", "16+1+16+1", "-", "100"] in [line.split() for line in lines]


def test_simulate_has_the_contracts_keys(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path
) -> None:
    records = tmp_path / "out.csv"
    arguments = ("simulate", scenario_file, "--qps", 300, "--threshold", 400, "--queries", 2000, "--seed", 5)
    result = payload(capsys, *arguments, "--records", records)
    assert {"mean", "p50", "p95", "p99", "p95_ci"} <= set(result["latency_ms"])
    assert {
        "sla_ms", "verdict", "qps_offered", "qps_achieved", "queries", "offloaded_fraction", "utilisation",
        "offered_load", "joules_per_query", "qps_per_watt", "streams_sha256", "versions",
    } <= set(result)  # fmt: skip
    assert set(result["utilisation"]) == set(result["offered_load"]) == {"cpu", "accelerator"}
    assert 0 < result["offloaded_fraction"] < 0.5
    assert len(records.read_text(encoding="utf-8").splitlines()) == 2001
    again = payload(capsys, *arguments)
    assert again.pop("question")["arguments"] == {"queries": 2000, "records": False}
    assert result.pop("question")["arguments"] == {"queries": 2000, "records": True}
    assert again == result
    assert payload(capsys, *arguments[:-1], 6)["streams_sha256"] != result["streams_sha256"]
    status, out, _ = call(capsys, *arguments)
    assert status == 0
    assert "latency_ms.p95" in out


def test_records_go_through_a_link(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link, target = tmp_path / "out.csv", tmp_path / "data" / "target.csv"
    link.symlink_to(target)
    payload(capsys, "simulate", scenario_file, "--queries", 1500, "--records", link)
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8").count("\n") == 1501
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["target.csv"]


def test_presets_are_written_into_a_folder_that_is_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def presets_main(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            presets.main(list(arguments))
        return int(stopped.value.code or 0), capsys.readouterr().err

    assert presets_main() == (2, "error: Missing argument 'FOLDER'.\n")
    status, err = presets_main(str(tmp_path / "a/b"), "nowhere")
    assert (status, err.count("\n")) == (2, 1)
    assert "name: got 'nowhere'; must be one of dlrm-rmc1" in err
    assert presets_main(str(tmp_path / "a/b"), "ncf-cpu") == (0, "")
    assert load_scenario(tmp_path / "a/b/ncf-cpu.yaml") == load_scenario("ncf-cpu")


def test_lists_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], scenario_file: Path) -> None:
    _, out, _ = call(capsys, "simulate", scenario_file, "--qps", 100, "--queries", 1500)
    assert "[affine]" in out  # which is no markup


def test_overload_is_said(capsys: pytest.CaptureFixture[str], scenario_file: Path) -> None:
    _, _, err = call(capsys, "simulate", scenario_file, "--qps", 9000, "--queries", 1500)
    assert "overloaded: cpu has an offered load of" in err
    assert payload(capsys, "simulate", scenario_file, "--qps", 9000, "--queries", 1500)["verdict"] == "fail"


def test_capacity_and_tune_have_the_contracts_keys(capsys: pytest.CaptureFixture[str], scenario_file: Path) -> None:
    found = payload(capsys, "capacity", scenario_file, "--batch-size", 64, "--queries", 2000)
    assert {"qps", "qps_ci", "limited_by", "p95_only_qps", "verdict", "confidence", "variance_inflation"} <= set(found)
    assert found["qps_ci"][0] <= found["qps"] <= found["qps_ci"][1]
    tuned = payload(capsys, "tune", scenario_file, "--method", "grid-capacity", "--queries", 1500)
    assert {"batch_size", "threshold", "qps", "p95_only_qps", "offered_load", "queries_used"} <= set(tuned)
    assert tuned["qps"] >= 0.95 * found["qps"]
    assert found["devices"] == {"cpu": ["affine"], "accelerator": ["affine"]}
    status, out, _ = call(capsys, "capacity", scenario_file, "--batch-size", 64, "--queries", 2000)
    first = out.splitlines()[0]
    assert status == 0
    assert first.startswith(f"capacity {found['qps']:.5g} queries/s [")
    assert "the highest rate with p95 within" in first
    assert "verdict" not in out
    climbed = payload(capsys, "tune", scenario_file, "--queries", 1500, "--param", "start=32", "--param", "growth=4")
    assert climbed["batch_size"] in (32, 128, 512, 1000)


def test_a_sweep_maps_the_ladders(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    ladders = ("--set", "control.batch_sizes=[16, 100]", "--set", "control.thresholds=[400, null]")
    arguments = ("capacity", scenario_file, "--sweep", "--output", tmp_path / "map", "--queries", 1500, *ladders)
    found = payload(capsys, *arguments)
    assert found["settings"] == 4
    assert found["best"]["batch_size"] in (16, 100)
    assert Path(found["csv"]).read_text(encoding="utf-8").count("\n") == 6
    assert payload(capsys, *arguments) == found


def test_evaluate_has_the_contracts_keys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, scenario_file: Path
) -> None:
    arguments = ("evaluate", scenario_file, "--policies", "static,random", "--seeds", 2, "--queries", 1500)
    result = payload(capsys, *arguments)
    assert result["seeds"] == [0, 1]
    assert set(result["policies"]) == {"static", "random"}
    status, out, _ = call(capsys, *arguments)
    assert status == 0
    assert "violations %" in out
    monkeypatch.setenv("COLUMNS", "60")
    narrow = call(capsys, *arguments)[1]
    assert max(map(len, narrow.splitlines()[1:])) <= 60 < max(map(len, out.splitlines()))  # the first is a path
    assert set(narrow.split()) == set(out.split())


def test_evaluate_says_whose_days_they_are_where_the_scenario_has_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scenario = day_scenario()
    scenario["workload"]["arrivals"] = {"kind": "poisson", "qps": 321}
    scenario["control"] |= {"batch_sizes": [16, 64], "thresholds": [None]}
    scenario["control"] |= {"batch_size": 16, "threshold": None}
    path = tmp_path / "own.yaml"
    for capacity, said in (
        (None, "own.yaml gives no capacity: days are built from that of its best fixed setting for them, "),
        ({"qps": 500, "batch_size": 16, "threshold": None, "found_by": "me"}, "own.yaml has no day: days are built "),
    ):
        path.write_text(yaml.safe_dump(scenario | {"capacity": capacity}), encoding="utf-8")
        arguments = ("evaluate", path, "--policies", "static", "--seeds", 1, "--queries", 1500)
        status, _, err = call(capsys, *arguments)
        assert (status, err.count("\n")) == (0, 1)
        assert said in err
        assert err.endswith(" queries/s; its own arrivals (poisson, 321 queries/s) are not used\n")
        payload(capsys, *arguments)  # says nothing


def test_profile_measures_a_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    arguments = ("profile", "ncf", "--batches", "1,2", "--rows-scale", 0.001, "--output", path)
    result = payload(capsys, *arguments)
    assert result["models"] == ["ncf"]
    assert [row["batch"] for row in result["latencies"]] == [1, 2]
    assert path.is_file()
    status, out, _ = call(capsys, *arguments)
    assert status == 0
    printed = [line.split() for line in out.splitlines() if line.startswith("ncf, ")]
    assert [line[:2] for line in printed] == [["ncf,", "1"], ["ncf,", "2"]]
    assert [line[6] for line in printed] == [f"{row['p95_ms']:.4g}" for row in result["latencies"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "nowhere"], "scenario: got 'nowhere'"),
        (["simulate", "missing.yaml"], "scenario: got 'missing.yaml'; there is no such file"),
        (["capacity", "no/where"], "scenario: got 'no/where'; there is no such file"),
        (["simulate", "/proc"], "scenario: got '/proc'; is a folder"),
        (["simulate", "NODE", "--qps", "-5"], "qps: got -5.0; must be between 1e-09 and 1e+12"),
        (["simulate", "NODE", "--batch-size", "0"], "batch_size: got 0; must be a whole number of at least 1"),
        (["simulate", "wnd-cpu", "--threshold", "64"], "threshold: got 64; must be null"),
        (["simulate", "NODE", "--threshold", "many"], "threshold: got 'many'"),
        (["simulate", "NODE", "--set", "node.cpu.servers=0"], "node.cpu.servers: got 0"),
        (
            ["simulate", "NODE", "--set", "node.cpu.server=4"],
            "node.cpu.server: got 4; unknown key; allowed keys: cores, threads, servers",
        ),
        (["simulate", "NODE", "--set", "workload.arrivals.qps=-1"], "workload.arrivals.qps: got -1"),
        (["simulate", "NODE", "--records", "no/where.csv"], "records: got 'no/where.csv'"),
        (["simulate", "NODE", "--queries", "10"], "queries: got 10; must be at least 1100"),
        (["simulate", "NODE", "--engine", "steam"], "engine: got 'steam'; must be one of asyncio, compiled"),
        (["simulate", "NODE", "--seed", "-1"], "seed: got -1"),
        (["simulate", "NODE", "--queries", "many"], "--queries"),
        (["simulate", "NODE", "--no-such-option"], "--no-such-option"),
        (["simulate"], "scenario"),
        (["tune", "NODE", "--method", "guess"], "method: got 'guess'; must be one of static"),
        (["capacity", "NODE", "--percentile", "10"], "percentile: got 10.0; must be between 50 and 99.9"),
        (["capacity", "NODE", "--percentile", "99.9", "--queries", "2000"], "must be at least 10000 to estimate p99.9"),
        (["capacity", "NODE", "--precision", "0"], "precision: got 0.0; must be between 0 and 1"),
        (["capacity", "NODE", "--output", "map"], "output: got 'map'; needs --sweep"),
        (["capacity", "NODE", "--sweep", "--batch-size", "8"], "sweep: got"),
        (["capacity", "NODE", "--sweep", "--output", "NODE"], "must be a folder, there or to be made (File exists)"),
        (["evaluate", "NODE", "--policies", "guess"], "policy: got 'guess'"),
        (["evaluate", "NODE", "--traffic", "flood"], "traffic: got 'flood'; must be one of day, flash"),
        (["profile", "nfc"], "model: got 'nfc'; must be 'all' or one of dlrm-rmc1"),
        (["profile", "ncf", "--batches", "0"], "batches"),
        (["train", "NODE", "--algo", "alchemy"], "algo: got 'alchemy'; must be one of ppo"),
        (["simulate", "NODE", "--plan", "1"], "plan: got '1'; must be left out: the scenario has no plans"),
        (["simulate", "NODE", "--plan", "0"], "plan: got '0'; must be left out: the scenario has no plans"),
        (["capacity", "NODE", "--plan", "0"], "plan: got '0'; must be left out: the scenario has no plans"),
        (["tune", "NODE", "--days", "3"], "days: got 3; has no effect with deeprecsched: it is for grid-day"),
        (["simulate", "NODE", "--arrivals", "scenario"], "arrivals: got 'scenario'; has no effect without qps"),
        (
            ["simulate", "recpipe-cpu", "--plan", "dim_8@9"],
            "plan: got 'dim_8@9'; must be an index from 0 to 6, or one of",
        ),
        (["scenarios", "nowhere"], "scenario: got 'nowhere'"),
        (["simulate", "n" * 400], "scenario: got 'nnn"),
        (["simulate", "NODE", "--qps", "1e-320"], "qps: got"),
        (["simulate", "NODE", "--batch-size", "9" * 20], "batch_size: got 9999"),
        (
            ["simulate", "NODE", "--threshold", "64,128"],
            "threshold: got '64,128'; must be a whole number",
        ),
        (["simulate", "NODE", "--set", "workload.arrivals={kind: [a]}"], "workload.arrivals: got"),
        (["simulate", "NODE", "--set", "workload.arrivals.day_s=1e-300"], "expects less than one query"),
        (["simulate", "NODE", "--records", "/proc/records.csv"], "/proc"),
        (["evaluate", "NODE", "--policies", ","], "policies: got ''"),
        (["evaluate", "NODE", "--seed", "-3"], "seed: got -3"),
        (["tune", "NODE", "--param", "growth=1"], "growth: got 1"),
        (["tune", "NODE", "--param", "grwth=2"], "grwth: got 2; unknown key; allowed keys: start, growth, tolerance"),
        (["tune", "NODE", "--method", "grid", "--param", "growth=2"], "param: got 'growth'; grid-capacity has none"),
        (["capacity", "NODE", "--queries", "0"], "queries: got 0; must be at least 1100"),
        (["profile", "ncf", "--batches", ""], "batches: got ''; must be whole numbers"),
        (["profile", "compare", "amd-epyc-milan", "amd-epyc-turin", "--threads", ""], "threads: got ''"),
        (["profile", "compare", "amd-epyc-milan", "amd-epyc-turin", "--output", "NODE"], "output: got"),
        (["pipeline", "rpaccel", "--seed", "-1"], "seed: got -1; must be a whole number of at least 0"),
        (["pipeline", "figure", "11", "--output", "NODE"], "output: got"),
        (["quality", "train", "--rate", "nan"], "rate: got nan; must be a number above 0"),
        (["tune", "NODE", "--param", "growth"], "--param: got 'growth'; must look like name=value"),
        (["train", "NODE", "--output", "NODE"], "must be a folder, there or to be made (File exists)"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, arguments: list[str], message: str
) -> None:
    before = {path: path.read_bytes() for path in scenario_file.parent.iterdir()}
    status, out, err = call(capsys, *[str(scenario_file) if word == "NODE" else word for word in arguments])
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert {path: path.read_bytes() for path in scenario_file.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("toy,cpu", "other,cpu"), "node.cpu.latency.model: got 'toy'; profile"),
        (("p50_ms", "p51_ms"), "lacks the column p50_ms"),
        (("0.8,0.85", "0.9,0.85"), "quantiles must ascend"),
    ],
)
def test_bad_profiles_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    data = day_scenario()
    data["node"]["cpu"]["latency"] = {"kind": "profile", "profile": "toy.csv", "model": "toy"}
    (tmp_path / "toy.csv").write_text(MODEL_PROFILE.replace(*change), encoding="utf-8")
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    status, out, err = call(capsys, "simulate", tmp_path / "node.yaml")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


HEAVY = ("torch", "matplotlib", "numba", "pandas", "optuna", "pyarrow", "scipy", "stable_baselines3")


def test_importing_is_light() -> None:
    """Neither torch nor plotting is loaded by the environments; what the package adds to gymnasium is bounded."""
    code = (
        "import time, gymnasium, sys; begun = time.perf_counter(); import deeprec_env; "
        "print(time.perf_counter() - begun); "
        f"print([name for name in {('typer', *HEAVY)} if name in sys.modules]); "
        "import deeprec_env.cli.main; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[1:] == ["[]", "[]"]
    assert float(out[0]) < 5.0  # 0.6 s on a quiet machine; this only catches a heavy import


@pytest.mark.parametrize("group", [(), ("pipeline",), ("quality",)])
def test_every_command_says_in_a_line_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = call(capsys, *group, "--help")
    commands = out[out.index("Commands:") :].splitlines()[1:]
    assert status == 0
    assert commands
    assert [line for line in commands if len(line.split()) < 3 or line.endswith("...")] == []


@pytest.mark.parametrize("group", [(), ("pipeline",), ("quality",)])
def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str], group: tuple[str, ...]) -> None:
    bare, asked, short = (call(capsys, *group, *more) for more in ((), ("--help",), ("-h",)))
    assert bare == asked == short
    assert (bare[0], bare[2]) == (0, "")
    assert call(capsys, *group, "-h")[1].startswith("Usage: deeprec")


def test_shells_complete_commands_and_presets() -> None:
    def completed(line: str) -> str:
        asked = {"_DEEPREC_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        command = [sys.executable, "-m", "deeprec_env"]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | asked).stdout

    assert "simulate" in completed("deeprec sim")
    assert "dlrm-rmc1-cpu" in completed("deeprec simulate dlrm-rmc1").split()
