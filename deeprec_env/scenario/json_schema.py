"""The JSON Schema of scenario files: made of the types that validate them, and of every known kind of component."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from deeprec_env.scenario.component import Component, Registry
from deeprec_env.scenario.parts import ARRIVALS, LATENCIES, SIZES
from deeprec_env.scenario.router import ROUTERS
from deeprec_env.scenario.schema import Scenario

_WHAT_SERVES: dict[str, dict[str, Any]] = {
    "node": {"type": "object"},
    "pipeline": {"type": "array", "minItems": 1},
    "fleet": {"type": "object"},
}
_NODE_OR_PRESET: dict[str, dict[str, Any]] = {"node": {"type": "object"}, "preset": {"type": "string"}}


def _one_of(keys: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What the types leave to a validator: exactly one of some keys."""
    return [
        {"required": [key], "properties": {**{other: {"type": "null"} for other in keys}, key: given}}
        for key, given in keys.items()
    ]


_SERVERS_OR_CORES = [
    {"required": ["servers"], "properties": {"cores": {"type": "null"}, "threads": {"type": "null"}}},
    {"required": ["cores"], "properties": {"cores": {"type": "integer"}, "servers": False}},
]
"""So of a pool."""

_ANY_POOL = [
    {"required": ["cpu"], "properties": {"cpu": {"type": "object"}}},
    {"required": ["accelerator"], "properties": {"accelerator": {"type": "object"}}},
]
"""A stage has at least one."""


def scenario_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a scenario file, the kinds of installed packages included.

    It refuses what the loader refuses field by field; what concerns several fields at once (a peak below the trough)
    and the files that a scenario refers to are the loader's alone.
    """
    registries: tuple[Registry[Any], ...] = (ARRIVALS, SIZES, LATENCIES, ROUTERS)
    kinds = {registry.base: _kinds_by_class(registry) for registry in registries}
    classes: list[type[BaseModel]] = [Scenario, *kinds, *(found for classes in kinds.values() for found in classes)]
    references, top = models_json_schema(
        [(found, "validation") for found in dict.fromkeys(classes)], schema_generator=_Generator
    )
    definitions = top["$defs"]

    def definition(found: type[BaseModel]) -> dict[str, Any]:
        return definitions[_name(references[found, "validation"])]  # type: ignore[no-any-return]

    for base, by_class in kinds.items():
        for found, names in by_class.items():
            own = definition(found)
            own["properties"]["kind"] = {"enum": names} if len(names) > 1 else {"const": names[0]}
            own["required"] = ["kind", *(name for name in own.get("required", ()) if name != "kind")]
        branches = [references[found, "validation"] for found in by_class]
        union = {"description": definition(base)["description"], "oneOf": [*branches, _imported(base)]}
        definitions[_name(references[base, "validation"])] = union
    definitions["PoolSpec"]["oneOf"] = _SERVERS_OR_CORES
    definitions["Group"]["oneOf"] = _one_of(_NODE_OR_PRESET)
    definitions["Stage"]["anyOf"] = _ANY_POOL
    scenario = definitions.pop(_name(references[Scenario, "validation"]))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:deeprec-env:scenario:{scenario['properties']['schema_version']['const']}",
        **scenario,
        "title": "deeprec-env scenario",
        "oneOf": _one_of(_WHAT_SERVES),
        "$defs": definitions,
    }


class _Generator(GenerateJsonSchema):
    """Without titles that only repeat the fields' names; a field that JSON has no word for may hold anything."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def _kinds_by_class(registry: Registry[Any]) -> dict[type[Component], list[str]]:
    found: dict[type[Component], list[str]] = {}
    for kind in registry.kinds():
        found.setdefault(registry.component(kind), []).append(kind)
    return found


def _imported(base: type[Component]) -> dict[str, Any]:
    kind = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
    return {
        "title": "module:Class",
        "description": f"A class of your own, derived from {base.__name__}; its fields are not known here.",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": kind},
    }


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).removeprefix("#/$defs/")
