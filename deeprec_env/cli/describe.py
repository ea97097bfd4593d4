"""What the shipped scenarios are, in a line each."""

from __future__ import annotations

from typing import Any

from deeprec_env import console
from deeprec_env.scenario.load import fleet_names, load_scenario, pipeline_names, preset_names, preset_text


def described() -> dict[str, dict[str, Any]]:
    """By name of every shipped scenario: its model (presets) or stages and plans (pipelines), node, target, capacity.

    `servers`: of its pools by kind, stage by stage. `capacity_qps`: as its file has it, None without one.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in preset_names() + pipeline_names():
        scenario = load_scenario(name)
        servers: dict[str, list[int]] = {}
        for stage in scenario.stages:
            for kind, pool in stage.pools().items():
                servers.setdefault(kind, []).append(pool.servers)
        found[name] = {
            "model": _model(name) if scenario.pipeline is None else None,
            "stages": len(scenario.stages),
            "plans": len(scenario.plan_names),
            "servers": servers,
            "sla_ms": scenario.sla_ms,
            "capacity_qps": None if scenario.capacity is None else scenario.capacity.qps,
        }
    return found


def _model(preset: str) -> str:
    """A preset's first line is "# MODEL on ..."."""
    return preset_text(preset).splitlines()[0].removeprefix("# ").partition(" on ")[0]


def print_described() -> None:
    """A table of the presets, one of the pipelines, and one of the fleets."""
    found = described()
    columns = ("preset", "model", "cpu", "accelerator", "target ms", "capacity qps")
    console.print_table(
        "'deeprec scenarios NAME' prints one as YAML", columns, [_row(name, found[name]) for name in preset_names()]
    )
    columns = ("pipeline", "stages", "plans", "cpu", "accelerator", "target ms")
    console.print_table("", columns, [_pipeline_row(name, found[name]) for name in pipeline_names()])
    fleets = [_fleet_row(name) for name in fleet_names()]
    console.print_table("", ("fleet", "nodes", "router", "target ms"), fleets)


def _row(name: str, facts: dict[str, Any]) -> list[str]:
    capacity = "-" if facts["capacity_qps"] is None else f"{facts['capacity_qps']:.0f}"
    return [name, facts["model"], *_servers(facts), f"{facts['sla_ms']:g}", capacity]


def _pipeline_row(name: str, facts: dict[str, Any]) -> list[str]:
    return [name, str(facts["stages"]), str(facts["plans"]), *_servers(facts), f"{facts['sla_ms']:g}"]


def _fleet_row(name: str) -> list[str]:
    scenario = load_scenario(name)
    assert scenario.fleet is not None
    nodes = ", ".join(f"{group.count} {group.name}" for group in scenario.fleet.groups)
    return [name, nodes, scenario.fleet.router.kind, f"{scenario.sla_ms:g}"]


def _servers(facts: dict[str, Any]) -> list[str]:
    return ["+".join(map(str, facts["servers"].get(kind, ()))) or "-" for kind in ("cpu", "accelerator")]
