"""`deeprec schema`."""

from __future__ import annotations

from deeprec_env import console
from deeprec_env.cli.options import Json, Seed
from deeprec_env.simulation.header import SCHEMA_VERSION


def schema(json: Json = False, seed: Seed = 0) -> None:
    """Print the JSON Schema of scenario files. For editors and other programs; with --json inside a result."""
    from deeprec_env.scenario.json_schema import scenario_schema

    found = scenario_schema()
    console.print_json({"schema_version": SCHEMA_VERSION, "schema": found} if json else found)
