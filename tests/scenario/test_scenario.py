from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env import InputError, Scenario, load_scenario
from deeprec_env.scenario import preset_names, preset_text
from deeprec_env.scenario.load import is_preset
from tests.conftest import day_scenario

MODELS = ["dlrm-rmc1", "dlrm-rmc2", "dlrm-rmc3", "ncf", "wnd", "mt-wnd", "din", "dien"]


KAIROS = [
    f"kairos-{model}-{node}"
    for model in ("ncf", "wnd", "mt-wnd", "rm2", "din43")
    for node in ("skylake", "cascade-lake", "skylake-t4")
]


def test_there_is_a_preset_for_every_model_with_and_without_accelerator() -> None:
    assert set(preset_names()) == {*MODELS, *(f"{model}-cpu" for model in MODELS), *KAIROS}
    assert is_preset("v0/wnd")
    assert not any(is_preset(name) for name in ("v0/kairos-wnd-skylake", "v1/wnd", "/wnd", "v0/v0/wnd", "../wnd", ""))


@pytest.mark.parametrize("name", preset_names())
def test_presets_hold_capacity_and_day(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.has_accelerator == (name in MODELS or name.endswith("-t4"))
    assert scenario.capacity is not None
    assert name in scenario.capacity.found_by
    arrivals = scenario.workload.arrivals
    assert arrivals.kind == "diurnal"
    assert arrivals.mean_qps == pytest.approx(0.55 * scenario.capacity.qps, rel=1e-4)
    assert arrivals.mean_qps * scenario.control.interval_s == pytest.approx(200, rel=0.01)
    if name in KAIROS:
        assert "fits of latencies that Kairos (HPDC 2023) published; target of" in preset_text(name)
    elif scenario.has_accelerator:
        assert "ESTIMATED" in preset_text(name).upper()


def test_a_scenario_survives_its_own_yaml_and_pickling() -> None:
    scenario = load_scenario("wnd")
    again = load_scenario(yaml.safe_load(yaml.safe_dump(scenario.model_dump(mode="json"))))
    assert again == scenario
    assert pickle.loads(pickle.dumps(scenario)) == scenario


def test_scenarios_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_scenario("wnd").sla_ms = 3  # type: ignore[misc]


def test_overrides_reach_into_mappings_and_lists() -> None:
    changed = load_scenario(day_scenario(), ["node.cpu.servers=3", "sla_ms=7", "p99_factor=null"])
    assert (changed.stages[0].cpu.servers, changed.sla_ms, changed.p99_factor) == (3, 7, None)
    stages = [{"name": "one", "cpu": day_scenario()["node"]["cpu"], "keep": 4}]
    pipeline = {key: value for key, value in day_scenario().items() if key != "node"} | {"pipeline": stages}
    assert load_scenario(pipeline, ["pipeline.0.keep=9"]).stages[0].keep == 9


def test_a_relative_profile_is_found_beside_the_scenario_file(tmp_path: Path, profile_csv: Path) -> None:
    data = day_scenario()
    del data["node"]["accelerator"]
    data["node"]["cpu"]["latency"] = {"kind": "profile", "profile": profile_csv.name, "model": "toy"}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    assert load_scenario(path).stages[0].cpu.servers == 8


def changed(path: str, value: Any) -> dict[str, Any]:
    data = day_scenario()
    target: Any = data
    *parents, last = path.split(".")
    for part in parents:
        target = target[part]
    target[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("nodes", {}, "nodes", "unknown key; allowed keys: schema_version"),
        ("node.cpu.server", 3, "node.cpu.server", "unknown key; allowed keys: cores, threads, servers"),
        ("node.cpu.latency.speed", 3, "node.cpu.latency.speed", "unknown key"),
        ("workload.arrivals.qps", -5, "workload.arrivals.qps", "greater than or equal to 0.000000001"),
        ("workload.arrivals.qps", math.nan, "workload.arrivals.qps", "finite"),
        ("workload.arrivals.kind", "posson", "workload.arrivals", "must be one of diurnal, flash, gamma"),
        ("workload.arrivals", 3, "workload.arrivals", "a mapping with a kind"),
        ("workload.arrivals.trough", 2.0, "workload.arrivals", "trough 2.0 <= peak 0.9"),
        ("workload.sizes.sigma", 0, "workload.sizes.sigma", "greater than 0"),
        ("node.cpu.servers", 0, "node.cpu.servers", "greater than or equal to 1"),
        ("node.cpu.busy_w", 1, "node.cpu", "busy_w 1.0 must be at least idle_w 20.0"),
        ("node.cpu.contention", {"c": [0, 0, 0]}, "node.cpu.contention", "must not be all zero"),
        ("control.batch_size", 0, "control.batch_size", "greater than or equal to 1"),
        ("control.batch_sizes", [], "control", "at least one value"),
        ("control.batch_sizes", [8, 8], "control", "each once"),
        ("sla_ms", 0, "sla_ms", "greater than 0"),
        ("schema_version", 9, "schema_version", "1"),
        ("pipeline", [], "node, pipeline and fleet", "exactly one"),
    ],
)
def test_bad_input_names_field_value_and_what_is_allowed(path: str, value: Any, field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(changed(path, value))
    assert field in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_threshold_needs_an_accelerator() -> None:
    data = day_scenario(control={"interval_s": 0.1, "threshold": 64})
    assert load_scenario(data).control.threshold == 64
    del data["node"]["accelerator"]
    with pytest.raises(InputError, match="threshold 64 needs an accelerator"):
        load_scenario(data)


def test_missing_parts_are_named() -> None:
    data = day_scenario()
    del data["workload"]
    with pytest.raises(InputError, match="workload: got None; is needed"):
        load_scenario(data)
    data = day_scenario()
    del data["node"]
    with pytest.raises(InputError, match="exactly one of node, pipeline and fleet"):
        load_scenario(data)


@pytest.mark.parametrize("override", ["nonsense", "=3", "sla_ms.deep=1", "control.batch_sizes.99=1"])
def test_bad_overrides_are_refused(override: str) -> None:
    with pytest.raises(InputError):
        load_scenario("wnd", [override])


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a YAML file or one of"):
        load_scenario("no-such-preset")
    path = tmp_path / "broken.yaml"
    path.write_text("sla_ms: [", encoding="utf-8")
    with pytest.raises(InputError, match="must be YAML"):
        load_scenario(path)
    path.write_text("- 1", encoding="utf-8")
    with pytest.raises(InputError, match="must hold a mapping"):
        load_scenario(path)


def test_users_add_kinds_without_touching_the_package() -> None:
    import numpy as np

    from deeprec_env.scenario.parts import LATENCIES, Floats, Ints, LatencyModel

    @LATENCIES.register("square-root")
    class SquareRoot(LatencyModel):
        ms: float

        def mean_s(self, items: Ints) -> Floats:
            return np.sqrt(items) * self.ms * 1e-3

        def base_s(self, items: Ints, u: Floats) -> Floats:
            return self.mean_s(items)

    scenario: Scenario = load_scenario(changed("node.cpu.latency", {"kind": "square-root", "ms": 2}))
    assert scenario.stages[0].cpu.latency.mean_s(np.array([4])) == pytest.approx([0.004])
