"""Every key of a scenario file is on the site, with what it takes."""

from __future__ import annotations

import re

from deeprec_env.scenario.json_schema import scenario_schema
from docs.site.keys import tables


def test_every_key_of_every_part_stands_once() -> None:
    schema = scenario_schema()
    parts = {re.match(r"## (.+)\n", each)[1]: each for each in tables(schema)}  # type: ignore[index]
    assert len(parts) == len(list(tables(schema)))
    assert parts.keys() - {"The whole file"} == schema["$defs"].keys()
    for name, part in {"The whole file": schema, **schema["$defs"]}.items():
        for key in part.get("properties", ()):
            assert parts[name].count(f"\n| `{key}` |") == 1, (name, key)
    for target in re.findall(r"\]\(#([a-z0-9]+)\)", "".join(parts.values())):
        assert target in {name.lower() for name in parts}


def test_rows_say_what_is_taken() -> None:
    found = "".join(tables(scenario_schema()))
    assert "| `sla_ms` | number above 0 | needed |" in found
    assert '| `order` | `fcfs`, `small-first`, `least-slack` | `"fcfs"` |' in found
    assert "| `admits_ms` | a list of (number above 0 or `null`) or `null` | `null` |" in found
    assert "| `sub_batches` | whole number at least 1 and at most 64 | `1` |" in found
    assert "`kind`: [`diurnal`](#diurnal)" in found
