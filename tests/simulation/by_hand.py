"""Small nodes whose times are computed by hand: one eighth of a second an item, so that floats are exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprec_env import Scenario, load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation import Records
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.engines import make_engine
from deeprec_env.simulation.windows import Window
from deeprec_env.workload import Traffic

ENGINES_BY_HAND = ("asyncio", "compiled")


def pool(servers: int = 1, base_ms: float = 0.0, per_item_ms: float = 125.0, **more: Any) -> dict[str, Any]:
    latency = {"kind": "affine", "base_ms": base_ms, "per_item_ms": per_item_ms}
    return {"servers": servers, "latency": latency} | more


def node(control: dict[str, Any], items: int = 2, **pools: dict[str, Any]) -> Scenario:
    """Of a target of 2 s; the median query, and that of the scenario's own traffic, has `items` items."""
    sizes = {"kind": "fixed", "items": items}
    pools = {"cpu": pool()} | pools
    place = {"pipeline": pools.pop("pipeline")} if "pipeline" in pools else {"node": pools}
    workload = {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": sizes}
    return load_scenario({"sla_ms": 2000, "workload": workload, "control": {"batch_size": 100} | control} | place)


def engine_of(name: str, scenario: Scenario, *queries: tuple[float, int]) -> Engine:
    """An engine of queries given by their arrival and items."""
    arrival_s, items = zip(*queries, strict=True)
    return make_engine(scenario, Traffic(np.array(arrival_s), np.array(items, dtype=np.int64), 7), name)


def drained(engine: Engine) -> Records:
    engine.drain()
    records = engine.records()
    engine.close()
    return records


def served(name: str, scenario: Scenario, *queries: tuple[float, int]) -> Records:
    """A whole run under the setting at the start."""
    return drained(engine_of(name, scenario, *queries))


def windows(engine: Engine, settings: list[Setting], *edges: float) -> list[Window]:
    """Windows between edges, each under its setting."""
    spans = zip(settings, edges, edges[1:], strict=False)
    return [engine.run_window(setting, begin_s, end_s) for setting, begin_s, end_s in spans]
