"""Bad command lines, by the hundred: one line on stderr and status 2, nothing else.

Each table names an option, and the values that are none of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import day_scenario, pipeline_day
from tests.test_cli import call

DIGITS = "9" * 5000
LONG = "line\n" * 400

NUMBERS = ("", "many", "nan", "1e400", "0x", "--", LONG)
COUNTS = (*NUMBERS, "-1", "2.5", DIGITS)
NAMES = ("", "nowhere", "None", "../x", LONG)
SETTINGS: dict[str, tuple[str, ...]] = {
    "--batch-size": (*COUNTS, "0", "1000000001"),
    "--threshold": ("", "many", "0", "-1", "64,128", "1.5", DIGITS, LONG, "nan", "-inf"),
    "--plan": ("0", "-1", "both", DIGITS, LONG),
    "--arrivals": ("", "gamma", LONG),
    "--engine": NAMES,
    "--seed": COUNTS,
}
WORDS = (*NAMES, "lifo", "FCFS", "0")

OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "simulate NODE": {
        **SETTINGS,
        "--arrivals": ("", "gamma", "scenario"),
        "--qps": (*NUMBERS, "0", "-5", "inf", "1e13", "1e-320"),
        "--queries": (*COUNTS, "0", "1099", "1000000000000", "99999999999999999999999"),
        "--split": NAMES,
        "--records": ("", "out", "out.txt", "no/where.csv", "."),
        "--split-rule": (*WORDS, "evenly"),
        "--order": (*WORDS, "largest-first"),
        "--offload": (*WORDS, "64"),
        "--admit": (*(text for text in NUMBERS if text != "1e400"), "0", "-1", "1e-6", "0.5", "1e300"),
        "--set": (
            "control.order=lifo", "control.orders=[fcfs, lifo]", "control.split=half", "control.offload=guess",
            "control.offloads=[predicted, guess]", "control.admit_ms=0.5", "control.admits_ms=[60, 0.5]",
            "node.cpu.batching={max_items: 1000}", "node.accelerator.batching={max_items: 999}",
            "node.cpu.slowness={}", "node.cpu.slowness=2", "node.cpu.slowness={factor: 2, mean_slow_s: 1}",
            "node.cpu.slowness={factor: 0, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: -2, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: .inf, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: true, mean_slow_s: 1, mean_normal_s: 1}",
            "node.cpu.slowness={factor: 2, mean_slow_s: 0, mean_normal_s: 1}",
            "node.cpu.slowness={factor: 2, mean_slow_s: 1, mean_normal_s: 1e-9}",
            "node.accelerator.slowness={factor: 2, mean_slow_s: 1, mean_normal_s: 1, share: 0.5}",
        ),
    },
    "simulate CPU": {
        "--offload": ("predicted",),
        "--set": (
            "control.offload=predicted", "control.offloads=[null, predicted]", "control.threshold=64",
            "node.accelerator.batching={max_items: 1000}",
        ),
    },
    "simulate PARTS": {
        "--offload": ("predicted",),
        "--admit": ("60",),
        "--set": (
            "control.offload=predicted", "control.offloads=[null, predicted]", "control.admit_ms=60",
            "control.admits_ms=[60]", "pipeline.0.accelerator.batching={max_items: 1000}",
        ),
    },
    "controls NODE": {
        "--loads": ("", "many", "0", "-1", "1,1", "nan", "inf", "101", "0.5,"),
        "--queries": (*COUNTS, "0", "1099", "1000001"),
        "--seeds": (*COUNTS, "0", "1001"),
        "--seed": COUNTS,
        "--output": ("NODE",),
    },
    "capacity NODE": {
        **SETTINGS,
        "--percentile": (*NUMBERS, "0", "49.9", "100", "inf"),
        "--precision": (*NUMBERS, "0", "1", "-0.1", "inf"),
        "--queries": (*COUNTS, "0", "1000000000000"),
        "--output": ("map",),
    },
    "tune NODE": {
        "--method": NAMES,
        "--queries": (*COUNTS, "0", "1000000000000"),
        "--days": (*COUNTS, "0", "3"),
        "--param": ("", "growth", "growth=1", "growth=true", "growth=[", "nowhere=3", "start=010"),
        "--arrivals": ("", "gamma", "scenario"),
        "--seed": COUNTS,
    },
    "evaluate NODE": {
        "--policies": ("", ",", "guess", "static,static", "nowhere:nothing", LONG),
        "--env": NAMES,
        "--traffic": NAMES,
        "--windows": ("0", "-1", "3", "many"),
        "--quality-floor": ("2", "nan", "many"),
        "--seeds": (*COUNTS, "0", "1000000000000", "100000000000000000000"),
        "--queries": (*COUNTS, "0", "1000000000000"),
        "--engine": NAMES,
        "--seed": COUNTS,
    },
    "train NODE": {
        "--algo": NAMES,
        "--env": NAMES,
        "--timesteps": (*COUNTS, "0", "99999999999999999999999"),
        "--reward": NAMES,
        "--hyperparams": ("", ".", "nowhere.yml", "NODE", "DEEP"),
        "--engine": NAMES,
        "--seed": (*COUNTS, "4294967296"),
        "--seeds": (*COUNTS, "0", "1001", "99999999999999999999"),
        "--validate-every": (*COUNTS, "0"),
        "--log": (*NAMES, "csv,smoke", ",", "csv,"),
        "--trials": (*COUNTS, "5"),
        "--output": ("NODE",),
    },
    "train NODE --seeds 2": {
        "--log": ("stdout", "csv,stdout", "smoke"),
        "--trials": ("5",),
        "--seed": ("4294967295",),
        "--hyperparams": ("nowhere.yml",),
        "--output": ("NODE",),
    },
    "train NODE --seeds 2 --resume": {"--output": ("nowhere", "NODE")},
    "train NODE --search": {"--seeds": ("5",), "--output": ("out",), "--trials": (*COUNTS, "0", "100001")},
    "train NODE --search --trials 2": {
        "--seeds": ("5", "0"),
        "--log": ("csv", "stdout"),
        "--algo": NAMES,
        "--hyperparams": ("nowhere.yml",),
        "--output": ("NODE",),
    },
    "train NODE --search --trials 2 --resume": {"--output": ("out",)},
    "profile ncf": {
        "--device": NAMES,
        "--batches": ("", "0", "1,1", "many", "1.5", "99999999999"),
        "--threads": ("", "0", "many", "1,1", "999999"),
        "--passes": (*COUNTS, "0", "99999999999999"),
        "--index-distribution": ("", "normal", "zipf:-1", "zipf:steep", "stack:nowhere.csv", "stack:FORTY"),
        "--rows-scale": (*NUMBERS, "0", "-1", "2", "inf"),
        "--name": ("", " x", "#"),
        "--output": (".", "no/where.csv", "NODE"),
    },
    "profile compare amd-epyc-milan amd-epyc-turin": {
        "--threads": ("", "1", "many", "1,2,3", "7,7"),
        "--output": ("NODE",),
    },
    "quality train": {
        "--data": NAMES,
        "--model": NAMES,
        "--epochs": (*COUNTS, "0"),
        "--rate": (*NUMBERS, "0", "-1", "inf"),
        "--queries": (*COUNTS, "0", "100000000"),
        "--threads": (*COUNTS, "0", "999999"),
    },
    "quality table": {
        "--checkpoints": ("nowhere", "NODE"),
        "--pipelines": ("", "nosuch", "dim_4@0", "dim_4@8-dim_4@16", "dim_4@many"),
        "--stages": (*COUNTS, "0"),
        "--items": ("", "many", "1.5"),
        "--keep": ("", "many"),
        "--queries": (*COUNTS, "0"),
    },
    "pipeline rpaccel": {"--items": (*COUNTS, "0"), "--fidelity": NAMES, "--seed": COUNTS},
    "pipeline cache": {
        "--policy": NAMES,
        "--samples": (*COUNTS, "0", "1000000000000"),
        "--compare": ("nowhere", "NODE"),
    },
    "pipeline headlines --quick": {"--seed": COUNTS},
    "paper": {"--models": ("nowhere", ""), "--output": ("NODE",)},
    "controls NODE NODE": {"--seeds": ("2",)},
    "controls PARTS": {"--seeds": ("2",)},
    "schema": {"--seed": COUNTS},
}  # fmt: skip


def command_lines() -> Iterator[tuple[str, ...]]:
    for command, options in OPTIONS.items():
        for option, values in options.items():
            yield from ((*command.split(), option, value) for value in values)
    for text in ("servers=010", "servers=1:30", "servers=0b11", "servers=1_2:3", "idle_w=1:30.5", "servers=2020-13-45"):
        yield "simulate", "NODE", "--set", f"node.cpu.{text}"
    for name in ("", "nowhere", ".", "DEEP", "DIGITS", "BINARY", "LIST"):
        for command in ("simulate", "capacity", "tune", "evaluate", "train"):
            yield command, name
    for command in ("sweep", "schedule --quality 0.9 --qps 100"):
        first, *more = command.split()
        for name in ("nowhere.yaml", ".", "NODE", "DEEP", "DIGITS"):
            yield "pipeline", first, name, *more
    for number in ("", "1", "10b", "-1"):
        yield "pipeline", "figure", number
    for name in ("nowhere", "", "../wnd"):
        yield "scenarios", name
        yield "profile", "compare", name, "amd-epyc-milan"


LINES = list(command_lines())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the words in capitals stand for."""
    folder = tmp_path_factory.mktemp("bad")
    texts = {
        "NODE": yaml.safe_dump(day_scenario()),
        "CPU": yaml.safe_dump(day_scenario() | {"node": {"cpu": day_scenario()["node"]["cpu"]}}),
        "PARTS": yaml.safe_dump(pipeline_day() | {"sub_batches": 2}),
        "DEEP": f"a: {'[' * 1500}{']' * 1500}",
        "DIGITS": f"sla_ms: {DIGITS}",
        "BINARY": "a: \x00",
        "LIST": "- 1\n- 2",
        "FORTY": "distance,probability\n1,0.3\n7,0.1\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return {name: str(folder / f"{name}.yaml") for name in texts}


def test_bad_command_lines_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str]
) -> None:
    assert len(LINES) >= 300
    monkeypatch.chdir(tmp_path)
    wrong = []
    for line in LINES:
        words = ["stack:" + files["FORTY"] if word == "stack:FORTY" else files.get(word, word) for word in line]
        try:
            status, out, err = call(capsys, *words)
        except Exception as error:  # a traceback, which is what this looks for
            wrong.append((line, f"{type(error).__name__}: {error}"[:300]))
            continue
        if (status, out, err.count("\n")) != (2, "", 1) or len(err) > 2500:
            wrong.append((line, f"status {status}: {out[:100]}{err[:300]}"))
        if left := list(tmp_path.iterdir()):
            wrong.append((line, f"left {left}"))
            break
    assert [([word[:40] for word in line], said) for line, said in wrong] == []
