from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from deeprec_env import InputError, load_scenario
from deeprec_env.scenario import preset_names, preset_text
from deeprec_env.scenario.json_schema import scenario_schema
from deeprec_env.scenario.load import is_preset, pipeline_names
from deeprec_env.scenario.parts import ARRIVALS, LATENCIES, SIZES
from tests.conftest import day_scenario, pipeline_day
from tests.scenario.test_scenario import changed
from tests.test_cli import call, payload

ROOT = Path(__file__).resolve().parents[2]
PRESETS = [*preset_names(), *pipeline_names(), *(f"v0/{name}" for name in preset_names() if is_preset(f"v0/{name}"))]
QUEUES = sorted((ROOT / "tests" / "queues").glob("*.yaml"))


@pytest.fixture(scope="module", params=[Draft202012Validator, Draft7Validator], ids=["2020-12", "draft-7"])
def schema(request: pytest.FixtureRequest) -> Any:
    """What it says it is, and the older draft that editors read."""
    request.param.check_schema(scenario_schema())
    return request.param(scenario_schema())


@pytest.mark.parametrize("text", [preset_text(name) for name in PRESETS], ids=PRESETS)
def test_presets_are_valid(schema: Any, text: str) -> None:
    schema.validate(yaml.safe_load(text))


@pytest.mark.parametrize("path", QUEUES, ids=lambda path: path.stem)
def test_the_queues_of_the_tests_are_valid(schema: Any, path: Path) -> None:
    schema.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


SIZE_KINDS: list[dict[str, Any]] = [
    {"kind": "mlperf"},
    {"kind": "lognormal", "mu": 5, "sigma": 0.2, "high": 1024},
    {"kind": "drifting", "before": {"kind": "fixed", "items": 3}, "after": {"kind": "normal"}, "queries": 100},
]


@pytest.mark.parametrize(
    "data",
    [
        pipeline_day(),
        load_scenario("wnd").model_dump(mode="json"),  # what `deeprec scenarios wnd --json` prints, with its nulls
        changed("node.cpu.latency", {"kind": "exponential", "mean_ms": 3}),
        changed("control", {"threshold": 64, "thresholds": [1, None], "batch_sizes": [5]}),
        *(changed("workload.sizes", sizes) for sizes in SIZE_KINDS),
    ],
)
def test_what_loads_is_valid(schema: Any, data: dict[str, Any]) -> None:
    load_scenario(data)
    schema.validate(json.loads(json.dumps(data)))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in day_scenario().items() if name != key}


@pytest.mark.parametrize(
    "data",
    [
        changed("nodes", {}),
        changed("node.cpu.cores", 3),  # beside servers
        changed("node.cpu.threads", 2),
        {**without("node"), "pipeline": [{"name": "one"}]},
        changed("node.cpu.latency.speed", 3),
        changed("workload.arrivals.qps", -5),
        changed("workload.arrivals.qps", "fast"),
        changed("workload.arrivals.kind", "posson"),
        changed("workload.arrivals.kind", "production"),  # a kind, but of sizes
        changed("workload.arrivals.kind", 3),
        changed("workload.arrivals", 3),
        changed("workload.arrivals", {"qps": 3}),
        changed("workload.arrivals", {"kind": "gamma", "qps": 3}),  # lacks cv
        changed("workload.sizes.sigma", 0),
        changed("workload.sizes", {"kind": "fixed", "items": 1.5}),
        changed("workload.sizes", {"kind": "drifting", "before": {"kind": "fixed"}, "after": {"kind": "normal"}}),
        changed("node.cpu.latency", {"kind": "affine", "base_ms": 1}),
        changed("node.cpu.servers", 0),
        changed("node.cpu.servers", None),
        changed("node.cpu.contention", {"c": [1, 0]}),
        changed("control.batch_size", 0),
        changed("control.thresholds", [0]),
        changed("control.interval_s", 0),
        changed("p99_factor", 0.5),
        changed("sla_ms", 0),
        changed("schema_version", 9),
        changed("capacity", {"qps": 3}),
        changed("pipeline", []),
        without("sla_ms"),
        without("workload"),
        without("node"),
        without("node") | {"pipeline": []},
        without("node") | {"pipeline": [{"cpu": day_scenario()["node"]["cpu"]}]},  # lacks a name
        pipeline_day() | {"node": day_scenario()["node"]},
    ],
)
def test_what_the_schema_refuses_the_loader_refuses(schema: Any, data: dict[str, Any]) -> None:
    assert not schema.is_valid(data)
    with pytest.raises(InputError):
        load_scenario(data)


def test_every_kind_is_in_the_schema_with_its_fields_and_what_they_mean() -> None:
    definitions = scenario_schema()["$defs"]
    for registry in (ARRIVALS, SIZES, LATENCIES):
        branches = definitions[registry.base.__name__]["oneOf"]
        own = [definitions[branch["$ref"].rpartition("/")[2]] for branch in branches if "$ref" in branch]
        by_kind = {branch["properties"]["kind"]["const"]: branch for branch in own}
        assert set(by_kind) == set(registry.kinds())
        for kind, branch in by_kind.items():
            component = registry.component(kind)
            assert set(branch["properties"]) == set(component.model_fields)
            assert branch.get("description") == inspect.getdoc(component) or not component.__doc__
            assert branch["additionalProperties"] is False


def test_a_class_of_ones_own_is_left_to_the_loader(schema: Any) -> None:
    schema.validate(changed("node.cpu.latency", {"kind": "my_module:Latency", "anything": 3}))


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, "schema")
    assert (status, err) == (0, "")
    assert json.loads(out) == scenario_schema()
    assert payload(capsys, "schema")["schema"] == scenario_schema()
