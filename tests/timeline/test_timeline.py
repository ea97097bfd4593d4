"""Timelines: what Perfetto's own schema reads in them is what the records say."""

from __future__ import annotations

import gzip
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, simulate
from deeprec_env.cli.main import main
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import Result
from deeprec_env.timeline import timeline as limits
from deeprec_env.timeline.files import write_timeline
from deeprec_env.timeline.timeline import Timeline, timeline_of
from tests.conftest import day_scenario, pipeline_day

BATCHED = day_scenario(control={"threshold": 100, "order": "small-first", "admit_ms": 40, "interval_s": 0.1})
BATCHED["node"]["accelerator"]["batching"] = {"max_items": 2000, "max_wait_ms": 1.0}


@pytest.fixture(scope="module", params=[day_scenario(), pipeline_day(), BATCHED], ids=["node", "pipeline", "batched"])
def result(request: pytest.FixtureRequest) -> Result:
    return simulate(request.param, qps=2000, queries=1200)


def kept(result: Result) -> Records:
    assert result.records is not None
    return result.records


def perfetto_trace(timeline: Timeline, path: Path) -> Any:
    schema = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    write_timeline(timeline, path)
    content = path.read_bytes()
    return schema.Trace.FromString(gzip.decompress(content) if path.suffix == ".gz" else content)


def test_perfetto_reads_every_request_on_its_server(result: Result, tmp_path: Path) -> None:
    trace = perfetto_trace(timeline_of(result), tmp_path / "run.pftrace")
    tracks = {packet.track_descriptor.uuid: packet.track_descriptor for packet in trace.packet}
    assert all(not track.parent_uuid or track.parent_uuid in tracks for track in tracks.values())
    by_track: dict[int, list[Any]] = defaultdict(list)
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id > 0
        if packet.HasField("track_event"):
            by_track[packet.track_event.track_uuid].append(packet)
    slices = 0
    flows: dict[int, int] = defaultdict(int)
    for uuid, packets in by_track.items():
        open_: list[int] = []
        before = 0
        for packet in packets:  # as they stand in the file: in order, each end closing what began last
            event = packet.track_event
            assert packet.timestamp >= before
            before = packet.timestamp
            if event.type == event.TYPE_SLICE_BEGIN:
                assert tracks[uuid].name.startswith("server ")
                open_.append(packet.timestamp)
                slices += 1
                [flow] = event.flow_ids
                flows[flow] += 1
                assert event.name == f"query {flow - 1}"
            elif event.type == event.TYPE_SLICE_END:
                assert packet.timestamp >= open_.pop()
            elif event.type == event.TYPE_COUNTER:
                assert tracks[uuid].HasField("counter")
                assert event.double_counter_value >= 0.0
        assert open_ == []
    records = kept(result)
    assert slices == sum(len(stage.start_s) for stage in records.stages)
    requests = sum(np.diff(stage.first) for stage in records.stages)
    assert flows == {int(query) + 1: int(n) for query, n in zip(records.query, requests, strict=True) if n}


def test_json_and_perfetto_say_the_same(result: Result, tmp_path: Path) -> None:
    timeline = timeline_of(result)
    write_timeline(timeline, tmp_path / "run.json.gz")
    events = json.loads(gzip.decompress((tmp_path / "run.json.gz").read_bytes()))["traceEvents"]
    servers = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    slices = [event for event in events if event["ph"] == "X" and (event["pid"], event["tid"]) in servers]
    assert len(slices) == sum(len(pool.query) for pool in timeline.pools)
    assert sum(event["ph"] == "t" for event in events) == len(slices)
    trace = perfetto_trace(timeline, tmp_path / "run.pftrace.gz")
    begins = [packet for packet in trace.packet if packet.track_event.type == packet.track_event.TYPE_SLICE_BEGIN]
    assert sorted((event["name"], round(event["ts"] * 1e3)) for event in slices) == sorted(
        (packet.track_event.name, packet.timestamp) for packet in begins
    )


def test_queue_counters_are_the_waiting_requests(result: Result) -> None:
    timeline = timeline_of(result)
    counters = {counter.name: counter for counter in timeline.counters}
    for pool in timeline.pools:
        counter = counters[f"waiting for {pool.label}"]
        for time_s, value in list(zip(counter.time_s.tolist(), counter.value.tolist(), strict=True))[::7]:
            assert value == ((pool.entry_s <= time_s) & (pool.start_s > time_s)).sum()


def test_a_window_holds_what_has_a_part_in_it(result: Result) -> None:
    whole, part = timeline_of(result), timeline_of(result, window=(0.1, 0.2))
    for all_, shown in zip(whole.pools, part.pools, strict=True):
        inside = (all_.start_s <= 0.2) & (all_.end_s >= 0.1)
        assert shown.query.tolist() == all_.query[inside].tolist()
        assert shown.server.tolist() == all_.server[inside].tolist()
    assert all(((counter.time_s >= 0.1) & (counter.time_s <= 0.2)).all() for counter in part.counters)
    assert 0 < len(part.query) < len(whole.query)


def test_the_slowest_are_shown_with_what_they_met(result: Result) -> None:
    records, part = kept(result), timeline_of(result, slowest=1)
    latency_s = np.where(records.shed, -math.inf, records.latency_s)
    latency_s[: result.warmup] = -math.inf
    slowest = int(np.argmax(latency_s))
    begin, end = records.arrival_s[slowest], records.completion_s[slowest]
    assert slowest in part.query
    until_s = np.where(records.shed, records.arrival_s, records.completion_s)
    assert part.query.tolist() == np.flatnonzero((records.arrival_s <= end) & (until_s >= begin)).tolist()


def test_more_than_can_be_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_REQUESTS", 1000)
    result = simulate(day_scenario(), queries=1100)
    with pytest.raises(InputError, match=r"timeline: got '\d+ requests'; must be at most 1000: give a timeline_window"):
        timeline_of(result)
    with pytest.raises(InputError, match="timeline_window"):
        timeline_of(result, window=(1e6, 2e6))
    with pytest.raises(InputError, match="must not stand beside"):
        timeline_of(result, window=(0.0, 1.0), slowest=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--timeline", "run.txt"], "timeline: got 'run.txt'; must be a file named *.pftrace"),
        (["--timeline", "nowhere/run.json"], "timeline: got 'nowhere/run.json'; its folder"),
        (["--timeline", "run.json", "--timeline-window", "5"], "timeline_window: got '5'; must be FROM:TO"),
        (["--timeline", "run.json", "--timeline-window", "2:1"], "timeline_window: got (2.0, 1.0)"),
        (["--timeline", "run.json", "--timeline-slowest", "0"], "timeline_slowest: got 0"),
        (["--timeline-slowest", "2"], "timeline_slowest: got 2; needs timeline"),
        (["--timeline", "run.json", "--queries", "1000001"], "queries: got 1000001"),
    ],
)
def test_bad_options_are_one_line_before_the_run(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", "ncf", *options])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_timeline_beside_the_same_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["simulate", "ncf", "--queries", "1500", "--json"]
    answers = []
    for more in ([], ["--timeline", str(tmp_path / "run.json"), "--timeline-slowest", "2"]):
        with pytest.raises(SystemExit):
            main([*arguments, *more])
        answers.append(json.loads(capsys.readouterr().out))
        answers[-1]["question"].pop("line")
    assert answers[0] == answers[1]
    assert json.loads((tmp_path / "run.json").read_text())["traceEvents"]
