"""RPAccel's published latency: the logged times, the formula by hand, and the same floats in compiled code."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, load_scenario
from deeprec_env.latency import RPAccel
from deeprec_env.latency.rpaccel import FIDELITIES, NETWORKS, UNITS, UnitStage, mends_s
from deeprec_env.pipeline import rpaccel_latency_s
from deeprec_env.simulation.engines import ENGINES
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import QueryStream, episode_seed


def test_every_logged_service_time_is_reproduced(shared: Path) -> None:
    with (shared / "recpipe" / "accelerator_runs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 110
    for row in rows:
        stages = zip(row["models"].split("|"), row["items"].split("|"), row["hardconf"].split("|"), strict=True)
        service_s = sum(rpaccel_latency_s(model, int(items), int(unit)) for model, items, unit in stages)
        assert service_s == pytest.approx(float(row["infer_mean_s"]), rel=1e-9)


def test_the_published_time_of_the_monolithic_chip() -> None:
    """4096 items on dim_32; RecPipe's artifact logs this figure."""
    assert rpaccel_latency_s("dim_32", 4096, 1) == pytest.approx(0.0020907438257427224, rel=1e-12)


def test_the_formula_by_hand() -> None:
    """dim_4 on a quarter of the chip, 100 items."""
    per_byte = 1 / (8 * 2**30) / 8e-9
    pcie = 1000 * (5 + 12 * 100 / 4096) + 1000 * 5
    half = 4 * 4 * 26 * 100 / 2
    lookups = 100 + half * per_byte + half / 64
    loads = sum(100 + 4 * weights * per_byte for weights in (13 * 64, 64 * 4, 108 * 64, 64))
    tiles = (13 + 64 + 100) + (64 + 4 + 100) + 2 * (64 + 64 + 100) + (64 + 1 + 100)
    assert rpaccel_latency_s("dim_4", 100, 4) == pytest.approx(8e-9 * (pcie + lookups + loads + tiles), rel=1e-12)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("model", NETWORKS)
def test_compiled_code_gives_the_same_floats(model: str, unit: int, fidelity: str) -> None:
    items = np.concatenate([np.arange(1, 300), [4095, 4096, 10**6, 123_456_789]])
    expected = [rpaccel_latency_s(model, int(n), unit, fidelity) for n in items]
    kind = RPAccel(kind="rpaccel", model=model, unit=unit, fidelity=fidelity)
    assert kind.base_s(items, np.full(len(items), 0.3)).tolist() == expected
    assert kind.mean_s(items).tolist() == expected
    stage = UnitStage.of(model, unit, fidelity)
    assert sum(stage.split_s(4096).values()) == pytest.approx(stage.latency_s(4096))


def test_each_mend_changes_what_it_names() -> None:
    by_mend = mends_s("dim_4", 4096, 64)
    assert by_mend["pcie_in_time"] == pytest.approx(-7 / 8 * 22_000 * 8e-9)  # 17,000 in, 5,000 out, 8 to a cycle
    assert by_mend["sort_in_cycles"] == pytest.approx((4096 / 16 - 4096 / 128) * 8e-9)
    assert by_mend["weights_stay"] == pytest.approx(-UnitStage.of("dim_4", 64).split_s(1)["weights"])
    split = UnitStage.of("dim_4", 64).split_s(4096)
    dram_s = 4096 * 4 * 4 * 26 / 2 / (0.125 * 2**30)
    loads_s = split["weights"] - 4 * 100 * 8e-9
    assert by_mend["even_bandwidth"] == pytest.approx(-3 / 4 * (dram_s + loads_s))
    assert mends_s("dim_32", 512, 4)["weights_stay"] == 0.0  # a little more than a quarter of the SRAM
    assert mends_s("dim_32", 512, 16)["even_bandwidth"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dim_8", 10, 1), "model: got 'dim_8'; must be one of dim_4, dim_16, dim_32"),
        (("dim_4", 10, 2), "unit: got 2; must be one of 1, 4, 16, 64"),
        (("dim_4", 10, True), "unit: got True"),
        (("dim_4", 10, 1, "exact"), "fidelity: got 'exact'; must be one of artifact, corrected"),
        (("dim_4", 0, 1), "items: got 0; must be a whole number of at least 1"),
        (("dim_4", 1.5, 1), "items: got 1.5"),
    ],
)
def test_what_does_not_exist_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rpaccel_latency_s(*arguments)


def pipeline(**changes: Any) -> dict[str, Any]:
    def pool(model: str) -> dict[str, Any]:
        latency = {"kind": "rpaccel", "model": model, "unit": 4, "fidelity": "artifact"} | changes
        return {"servers": 2, "latency": latency}

    return {
        "sla_ms": 10,
        "workload": {"arrivals": {"kind": "poisson", "qps": 900}, "sizes": {"kind": "production"}},
        "pipeline": [{"name": "filter", "cpu": pool("dim_4"), "keep": 64}, {"name": "rank", "cpu": pool("dim_32")}],
        "control": {"batch_size": 1000},
    }


def test_both_engines_serve_a_pipeline_on_the_accelerator_alike() -> None:
    scenario = load_scenario(pipeline())
    traffic = QueryStream(scenario.workload, episode_seed(0)).draw(500)
    one, other = (run(scenario, traffic, engine=engine) for engine in ENGINES)
    assert one.completion_s.tobytes() == other.completion_s.tobytes()
    alone = one.stages[0].end_s[0] - one.stages[0].start_s[0]
    assert alone == pytest.approx(rpaccel_latency_s("dim_4", int(traffic.items[0]), 4))


def test_a_scenario_with_a_unit_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="unit"):
        load_scenario(pipeline(unit=8))
