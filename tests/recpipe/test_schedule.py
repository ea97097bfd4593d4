from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.recpipe.design_space.schedule import schedule
from deeprec_env.recpipe.design_space.space import load_space, space_of
from tests.recpipe.spaces import small_space, space, stage

SPACE = small_space()


def test_the_best_is_good_enough_fast_enough_and_none_is_better() -> None:
    found = schedule(SPACE, quality=0.92, qps=150, top=3)
    assert found.pipelines == 270 > found.good_enough > found.keep_up >= found.meet >= 3
    p95 = [choice.result.tail.p95_s for choice in found.best]
    assert p95 == sorted(p95)
    for choice in found.best:
        assert choice.meets
        assert (choice.candidate.quality or 0) >= 0.92
    lower = schedule(SPACE, quality=0.85, qps=150, top=1)
    assert lower.best[0].result.tail.p95_s < p95[0]
    assert lower.good_enough > found.good_enough


def test_the_gpu_is_for_low_rates_and_cores_are_for_high_ones() -> None:
    """What RecPipe's figure 8 says of an NDCG@64 above 0.9225."""
    low = schedule(SPACE, quality=0.9225, qps=30, top=1).best[0].candidate
    high = schedule(SPACE, quality=0.9225, qps=300, top=1).best[0].candidate
    assert "gpu" in low.mapping
    assert high.mapping == "cpu|cpu"


def test_capacity_as_the_objective() -> None:
    few = space(
        [stage(["dim_16", "dim_32"], 4096, ["cpu", "gpu"])], [stage("dim_4", 4096, "cpu"), stage("dim_32", 128, "cpu")]
    )
    found = schedule(few, quality=0.92, qps=100, objective="capacity", top=3)
    capacities = [choice.capacity.qps for choice in found.best if choice.capacity]
    assert len(capacities) == 3
    assert capacities == sorted(capacities, reverse=True)
    assert min(capacities) > 100


def test_nothing_will_do() -> None:
    found = schedule(space_of(load_space(SPACE)), quality=0.92, qps=150, sla_ms=20)
    assert (found.best, found.meet) == ((), 0)
    late = found.nearest
    assert late is not None
    assert late.lacks == "sla_ms"
    assert late.p95_ms is not None
    assert late.p95_ms > 20
    assert schedule(SPACE, quality=0.92, qps=150, sla_ms=1.5 * late.p95_ms).nearest is None
    poor = schedule(SPACE, quality=0.99, qps=150)
    assert poor.good_enough == 0
    assert poor.nearest is not None
    assert poor.nearest.lacks == "quality"
    assert poor.nearest.quality == max(each.quality for each in space_of(load_space(SPACE)).candidates)
    slow = schedule(SPACE, quality=0.92, qps=1e5).nearest
    assert slow is not None
    assert slow.lacks == "qps"
    assert slow.highest_qps < 1e5
    assert schedule(SPACE, quality=0.92, qps=0.99 * slow.highest_qps).keep_up > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 1.5}, "quality: got 1.5"),
        ({"qps": 0.0}, "qps: got 0.0"),
        ({"objective": "cost"}, "objective: got 'cost'; must be one of p95, capacity"),
        ({"top": 0}, "top: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"sla_ms": -1.0}, "sla_ms: got -1.0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        schedule(SPACE, **({"quality": 0.9, "qps": 100.0} | options))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    arguments = ["pipeline", "schedule", str(path), "--quality", "0.92", "--sla-ms", "80", "--qps", "100", "--top", "2"]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--json"])
    assert stopped.value.code == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["sla_ms"] == 80
    assert len(payload["best"]) == 2
    assert payload["best"][0]["p95_ms"] <= payload["best"][1]["p95_ms"] <= 80
    with pytest.raises(SystemExit):
        main(arguments)
    assert payload["best"][0]["pipeline"] in capsys.readouterr().out
