"""Explanations: who was waited for, what would have helped, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from deeprec_env import InputError, Scenario, simulate
from deeprec_env.cli.main import main
from deeprec_env.scenario.pools import KINDS
from deeprec_env.simulation.engines import ENGINES
from deeprec_env.simulation.simulate import run
from deeprec_env.timeline.behind import behind
from deeprec_env.timeline.explain import explain
from deeprec_env.timeline.requests import run_requests
from deeprec_env.workload import Traffic
from tests.conftest import day_scenario, pipeline_day, queue
from tests.simulation.random_scenarios import Run, further_runs
from tests.timeline.test_parts import engine_for

ONE_SECOND = {"kind": "constant", "ms": 1000.0}


def of_items(scenario: Scenario, items: list[int], arrival_s: list[float]) -> Traffic:
    return Traffic(np.array(arrival_s), np.array(items, dtype=np.int64), 1)


def test_a_wait_by_hand() -> None:
    scenario = queue(1, ONE_SECOND, 1.0, control={"batch_size": 2})
    # The second query is two requests: it waits 0.75 s for the first one, and then a second for itself.
    traffic = of_items(scenario, [1, 4, 2], [0.0, 0.25, 0.5])
    records = run(scenario, traffic)
    [requests] = run_requests(records, scenario, 1)
    found = behind(records, scenario, 0, requests, 2)
    assert (found.own_s, found.earlier_s, found.later_s, found.idle_s) == (1.0, 0.75, 0.0, 0.0)
    assert found.queries == ((0, 1, 0.75),)
    assert found.found == 0
    last = behind(records, scenario, 0, requests, 3)
    assert (last.own_s, last.earlier_s, last.found) == (0.0, 2.5, 2)
    assert last.queries == ((1, 4, 2.0), (0, 1, 0.5))


def test_who_overtakes_is_said() -> None:
    scenario = queue(1, ONE_SECOND, 1.0, control={"batch_size": 9, "order": "small-first"})
    records = run(scenario, of_items(scenario, [1, 5, 2], [0.0, 0.25, 0.5]))
    [requests] = run_requests(records, scenario, 1)
    found = behind(records, scenario, 0, requests, 1)
    assert (found.earlier_s, found.later_s) == (0.75, 1.0)


@settings(max_examples=100)
@given(further=further_runs())
def test_servers_do_one_thing_at_a_time_and_are_idle_for_batches_alone(further: Run) -> None:
    scenario = further.scenario.with_setting(further.settings[0])
    records = run(scenario, further.traffic, engine=engine_for(scenario, "compiled"))
    for position, requests in enumerate(run_requests(records, scenario, further.traffic.noise_key)):
        for kind, pool in scenario.stages[position].pools().items():
            away = KINDS.index(kind) == 1
            mine, servers = requests.place[away], requests.servers(pool, away)
            assert ((servers >= 0) & (servers < pool.servers)).all()
            for server in range(pool.servers):
                taken = mine[servers == server]
                taken = taken[requests.lead[taken] == taken]
                assert (requests.start_s[taken[1:]] >= requests.end_s[taken[:-1]]).all()
            for request in mine.tolist():
                found = behind(records, scenario, position, requests, request)
                waited_s = requests.start_s[request] - requests.entry_s[request]
                whole_s = math.fsum([found.own_s, found.earlier_s, found.later_s, found.idle_s])
                assert whole_s == pytest.approx(waited_s, abs=1e-9)
                if pool.batching is None:
                    assert found.idle_s == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("data", [day_scenario(), pipeline_day()])
def test_both_engines_are_explained_alike(data: dict[str, object]) -> None:
    found = [explain(simulate(data, queries=1500, engine=engine), 3).to_json() for engine in ENGINES]
    for each in found:
        each.pop("question")
    assert found[0] == found[1]
    slowest = found[0]["slowest"]
    assert [query["latency_s"] for query in slowest] == sorted((query["latency_s"] for query in slowest), reverse=True)
    for query in slowest:
        assert math.fsum(part for stage in query["stages"] for part in stage["parts_s"].values()) == query["latency_s"]
        assert query["alone_s"] < query["latency_s"]


def test_what_helps_is_what_that_setting_does() -> None:
    result = simulate(day_scenario(), qps=3000, batch_size=512, queries=3000)
    explanation = explain(result, 2)
    sizes = {tried.change: tried for tried in explanation.tried}
    tried = sizes["batch size 384 (not 512)"]
    other = simulate(day_scenario(), qps=3000, batch_size=384, queries=3000)
    assert other.records is not None
    places = [query.query for query in explanation.queries]
    assert tried.latency_s.tolist() == other.records.latency_s[places].tolist()
    assert tried.p95_s == other.tail.p95_s
    best = min((t for t in explanation.tried if t.p95_s <= explanation.p95_s), key=lambda t: float(t.latency_s[0]))
    assert explanation.queries[0].helps.startswith(best.change)


def test_streamed_runs_and_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="slowest"):
        explain(simulate(day_scenario(), queries=1100), 0)
    with pytest.raises(SystemExit) as stopped:
        main(["explain", "ncf-cpu", "--queries", "1000001"])
    assert stopped.value.code == 2
    assert "queries: got 1000001" in capsys.readouterr().err


def test_the_command_explains_and_is_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", "ncf", "--queries", "1500", "--slowest", "2"]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    assert told.count("would have helped") == 2
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    file = tmp_path / "explained.json"
    file.write_text(capsys.readouterr().out)
    assert len(json.loads(file.read_text())["slowest"]) == 2
    with pytest.raises(SystemExit) as stopped:
        main(["rerun", str(file)])
    assert (stopped.value.code, capsys.readouterr().out) == (0, "same\n")
