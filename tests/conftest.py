"""Shared fixtures: small scenarios whose answers are known, and the published data where it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from deeprec_env import Scenario, find_capacity, load_scenario, simulate
from deeprec_env.envs.vector import ServingVectorEnv
from deeprec_env.recpipe.chip.embedding_cache import hit_rate
from deeprec_env.scenario.parts import Floats, Ints, LatencyModel
from deeprec_env.simulation.rates import PlannedRun
from deeprec_env.workload.stream import QueryStream, episode_seed

# The same examples every time; `--hypothesis-profile random` (make test-random) draws others. A failure shows the blob
# that brings its example back.
settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=60, print_blob=True)
settings.register_profile("random", settings.get_profile("fixed"), derandomize=False, max_examples=200)
settings.load_profile("fixed")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Compile before any worker starts, so that they do not all do it."""
    if not hasattr(config, "workerinput"):
        several = ServingVectorEnv(1, day_scenario())
        several.reset(seed=0)
        several.step(np.zeros((1, 2), dtype=np.int64))
        simulate(day_scenario(), queries=1100)
        find_capacity(day_scenario(), queries=2000)
        scenario = load_scenario(day_scenario())
        traffic = QueryStream(scenario.workload, episode_seed(0)).draw(50)
        PlannedRun(scenario, traffic).tails(np.ones(1), 10)
        from deeprec_env.models.index_traces import stack_distances  # imports torch: not for every worker

        hit_rate(np.zeros(2, dtype=np.int64), 1)
        stack_distances(np.zeros(2, dtype=np.int64))


LONG = ("tests/test_tutorials.py", "tests/executors/test_ray_cluster.py", "tests/cli/test_bad_command_lines.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: as the last ones they would keep one worker busy while the others have nothing left."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published measurements."""
    if not SHARED.is_dir():
        pytest.skip(f"the published measurements are not at {SHARED}")
    return SHARED


def queue(
    servers: int, latency: dict[str, Any], qps: float, *, items: int = 1, sla_ms: float = 1e9, **more: Any
) -> Scenario:
    """A node of CPU servers alone, with Poisson arrivals of fixed size."""
    return load_scenario(
        {
            "sla_ms": sla_ms,
            "workload": {
                "arrivals": {"kind": "poisson", "qps": qps},
                "sizes": {"kind": "fixed", "items": items},
            },
            "node": {"cpu": {"servers": servers, "latency": latency}},
            **more,
        }
    )


def day_scenario(**changes: Any) -> dict[str, Any]:
    """A small node with an accelerator and a short day: 12 windows of about 40 queries."""
    return {
        "sla_ms": 60,
        "workload": {
            "arrivals": {"kind": "diurnal", "qps": 400, "day_s": 1.2, "bursts": 2},
            "sizes": {"kind": "production"},
        },
        "node": {
            "cpu": {
                "servers": 8,
                "latency": {"kind": "affine", "base_ms": 0.5, "per_item_ms": 0.05, "cv": 0.1},
                "idle_w": 20,
                "busy_w": 60,
            },
            "accelerator": {
                "servers": 1,
                "latency": {"kind": "affine", "base_ms": 1.0, "per_item_ms": 0.004, "cv": 0.05},
                "idle_w": 30,
                "busy_w": 200,
            },
        },
        "control": {"interval_s": 0.1},
        **changes,
    }


def fleet_day(**fleet: Any) -> dict[str, Any]:
    """A day of three of these nodes and two without accelerator; the arguments are keys of the fleet."""
    data = day_scenario()
    node, arrivals = data.pop("node"), data["workload"]["arrivals"]
    few = {"batch_sizes": [16, 64, 200], "thresholds": [100, 300, None]}
    groups = [
        {
            "name": "both",
            "count": 3,
            "node": node,
            "control": {"batch_size": 64, "threshold": 300, **few},
            "start_s": 0.05,
        },
        {"name": "cpu", "count": 2, "node": {"cpu": node["cpu"]}, "control": {"batch_size": 64}, "start_s": 0.17},
    ]
    data["workload"] = data["workload"] | {"arrivals": arrivals | {"qps": 1500}}
    data["fleet"] = {"router": {"kind": "least-work"}, "network_ms": 0.5, "groups": groups, **fleet}
    return data


def pipeline_day() -> dict[str, Any]:
    """The same day through three stages, the second with contention and transfers, so that entries change places."""
    data = day_scenario(sla_ms=80)
    node = data.pop("node")
    slow = {"servers": 5, "latency": {"kind": "exponential", "mean_ms": 1.0}, "contention": {"c": [0.8, 0.3, 0.1]}}
    last = {"servers": 3, "latency": {"kind": "constant", "ms": 2.0}}
    data["pipeline"] = [
        {"name": "filter", **node, "keep": 100, "overhead_s": 1e-4},
        {"name": "rank", "cpu": slow, "accelerator": node["accelerator"], "keep": 20, "transfer_s": 1e-3},
        {"name": "sort", "cpu": last},
    ]
    return data


def plans_day(quality: float | None = 0.9, **changes: Any) -> dict[str, Any]:
    """A short day through two stages with four plans, the best one of `quality`; bursts drown it."""
    data = day_scenario(sla_ms=30, **changes)
    node = data.pop("node")
    data["workload"] = {
        "arrivals": data["workload"]["arrivals"] | {"qps": 1200},
        "sizes": {"kind": "fixed", "items": 100},
    }
    data["pipeline"] = [
        {"name": "filter", "cpu": node["cpu"], "transfer_s": 1e-3},
        {"name": "rank", "cpu": node["cpu"] | {"servers": 3}, "accelerator": node["accelerator"]},
    ]
    data["plans"] = [
        {"name": "both", "items": [100, 30], "quality": quality},
        {"name": "fewer", "items": [100, 10], "quality": 0.85},
        {
            "name": "rough",
            "items": [40, 0],
            "quality": 0.7,
            "latency": {"filter": {"cpu": {"kind": "constant", "ms": 2}}},
        },
        {"name": "rank", "items": [0, 20], "quality": 0.6},
    ]
    data["control"] |= {"batch_size": 32, "batch_sizes": [16, 32, 64], "thresholds": [20, 40, None]}
    data["capacity"] = {"qps": 1500, "batch_size": 32, "threshold": 20, "found_by": "a test"}
    return data


class OwnLatency(LatencyModel):
    """A user's own model, which only Python can evaluate."""

    kind: str = "own"

    def base_s(self, items: Ints, u: Floats) -> Floats:
        return np.asarray(0.25 * (1 + items % 3) * np.where(u < 0.5, 1.0, 2.0))

    def mean_s(self, items: Ints) -> Floats:
        return np.asarray(0.375 * (1 + items % 3))


MODEL_PROFILE = """# made by a test
model,device,batch,part,repeats,mean_ms,p01_ms,p05_ms,p10_ms,p25_ms,p50_ms,p75_ms,p90_ms,p95_ms,p99_ms
toy,cpu,1,compute,100,1.0,0.8,0.85,0.9,0.95,1.0,1.05,1.1,1.15,1.2
toy,cpu,10,compute,100,2.8,2.0,2.2,2.4,2.6,2.8,3.0,3.2,3.4,3.6
toy,cpu,100,compute,100,20.8,20.0,20.2,20.4,20.6,20.8,21.0,21.2,21.4,21.6
"""


@pytest.fixture
def profile_csv(tmp_path: Path) -> Path:
    """A profile of a toy model at batches 1, 10 and 100."""
    path = tmp_path / "toy.csv"
    path.write_text(MODEL_PROFILE, encoding="utf-8")
    return path
