"""Threads a server: one knob for the number of servers and their latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deeprec_env import InputError, Scenario, load_scenario, simulate
from deeprec_env.latency.table import read_profile, write_profile
from tests.conftest import MODEL_PROFILE

OF_ONE_COUNT = "# threads: 2\n" + MODEL_PROFILE


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """The toy profile at one thread, and in half the time at two."""
    lines = MODEL_PROFILE.splitlines()
    rows = [line.split(",") for line in lines[2:]]
    faster = [[*row[:5], *(f"{float(value) / 2:g}" for value in row[5:]), "2"] for row in rows]
    text = ["# threads: 1,2", lines[1] + ",threads", *(",".join([*row, "1"]) for row in rows), *map(",".join, faster)]
    (tmp_path / "both.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    return tmp_path / "both.csv"


def node(profile: Path, **cpu: Any) -> dict[str, Any]:
    return {
        "sla_ms": 50,
        "workload": {"arrivals": {"kind": "poisson", "qps": 100}, "sizes": {"kind": "fixed", "items": 10}},
        "node": {"cpu": {**cpu, "latency": {"kind": "profile", "profile": str(profile), "model": "toy"}}},
    }


def mean_ms(scenario: Scenario, items: int = 10) -> float:
    return float(scenario.stages[0].cpu.latency.mean_s(np.array([items]))[0]) * 1e3


def test_one_knob_changes_servers_and_latency(both: Path) -> None:
    data = node(both, cores=9, threads=1)
    one, two = load_scenario(data), load_scenario(data, ["node.cpu.threads=2"])
    assert [(case.stages[0].cpu.servers, mean_ms(case)) for case in (one, two)] == [
        (9, pytest.approx(2.8)),
        (4, pytest.approx(1.4)),
    ]
    by_hand = node(both, servers=4)
    by_hand["node"]["cpu"]["latency"]["threads"] = 2
    answers = [simulate(scenario, queries=1500).to_json() for scenario in (two, by_hand)]
    for answer in answers:
        del answer["question"]  # the scenario says it in other words
    assert answers[0] == answers[1]


def test_without_a_thread_count_the_fewest_are_taken(both: Path) -> None:
    assert mean_ms(load_scenario(node(both, servers=3))) == pytest.approx(2.8)
    assert load_scenario(node(both, cores=3)).stages[0].cpu.servers == 3


def test_a_scenario_with_cores_survives_its_own_yaml_and_can_be_changed_there(both: Path) -> None:
    scenario = load_scenario(node(both, cores=8, threads=2))
    dumped = yaml.safe_load(yaml.safe_dump(scenario.model_dump(mode="json")))
    assert "servers" not in dumped["node"]["cpu"]
    assert load_scenario(dumped) == scenario
    again = load_scenario(dumped, ["node.cpu.threads=1"])
    assert (again.stages[0].cpu.servers, mean_ms(again)) == (8, pytest.approx(2.8))
    assert load_scenario(scenario, ["sla_ms=60"]).stages[0].cpu.servers == 4


def test_a_scenario_with_servers_is_written_without_cores(both: Path) -> None:
    dumped = load_scenario(node(both, servers=3)).model_dump(mode="json")["node"]["cpu"]
    assert {"cores", "threads"}.isdisjoint(dumped)
    assert "threads" not in dumped["latency"]


@pytest.mark.parametrize(
    ("cpu", "message"),
    [
        ({"cores": 8, "servers": 8}, "node.cpu.servers: got 8; follows from cores and threads"),
        ({"servers": 8, "threads": 2}, "node.cpu.servers: got 8; follows from cores and threads"),
        ({"threads": 2}, "threads 2 needs at least that many cores, got None"),
        ({"cores": 1, "threads": 2}, "threads 2 needs at least that many cores, got 1"),
        ({"cores": 8, "threads": 4}, "threads: got 4; profile .* holds 1, 2 for toy"),
        ({"cores": 0}, "node.cpu.cores: got 0"),
        ({}, "node.cpu.servers: got None; is needed"),
    ],
)
def test_what_does_not_fit_is_refused(both: Path, cpu: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_scenario(node(both, **cpu))


def test_a_latency_without_thread_counts_takes_one(both: Path) -> None:
    data = node(both, cores=8, threads=2)
    data["node"]["cpu"]["latency"] = {"kind": "constant", "ms": 1.0}
    with pytest.raises(InputError, match="threads: got 2; must be 1: latency of kind constant"):
        load_scenario(data)
    assert load_scenario(data, ["node.cpu.threads=null"]).stages[0].cpu.servers == 8


def test_files_without_the_column_have_the_headers_threads_and_keep_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text(OF_ONE_COUNT, encoding="utf-8")
    assert load_scenario(node(path, cores=8, threads=2)).stages[0].cpu.servers == 4
    with pytest.raises(InputError, match=r"threads: got 1; profile .* holds 2 for toy"):
        load_scenario(node(path, cores=8))
    table = read_profile(path)
    write_profile(path, table.header, table.rows)
    assert "threads" not in path.read_text(encoding="utf-8").splitlines()[2]


def test_a_file_of_several_thread_counts_is_written_as_it_was_read(both: Path) -> None:
    table = read_profile(both)
    write_profile(both, table.header, table.rows)
    assert read_profile(both) == table
    both.write_text(both.read_text(encoding="utf-8").replace(",threads\n", "\n"), encoding="utf-8")
    with pytest.raises(InputError, match="line 3, threads: got ''"):
        read_profile(both)
