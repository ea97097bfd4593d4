"""Every key of a scenario file, in tables made of its JSON Schema, under the page about scenario files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deeprec_env.scenario.json_schema import scenario_schema

PAGE = "scenario-files.md"
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_LARGEST = 1e9  # bounds beyond are there for arithmetic, and say nothing
_LONGEST = 80  # default that is written out
_HEAD = "| key | what it takes | default |\n| --- | --- | --- |\n"

Schema = Mapping[str, Any]


def write_keys(source: Path) -> None:
    """Append the tables to the page in the site's sources."""
    page = source / PAGE
    page.write_text(page.read_text(encoding="utf-8") + "\n" + "\n".join(tables(scenario_schema())), encoding="utf-8")


def tables(schema: Schema) -> Iterator[str]:
    """The whole file, then each object that it may hold in the order in which they are met, each once."""
    yield _table("## The whole file", schema)
    parts, met = schema["$defs"], list(dict.fromkeys(_named(schema, below=False)))
    for name in met:  # grows while it is read
        part = parts[name]
        met += [each for each in dict.fromkeys(_named(part)) if each not in met]
        kinds = [each for each in map(_reference, part.get("oneOf", ())) if each is not None]
        if kinds:
            listed = ", ".join(f"[`{_kind(parts[each])}`](#{each.lower()})" for each in kinds)
            yield f"## {name}\n\n{_words(part)}\n\n`kind`: {listed}, or `module:Class` of your own.\n"
        else:
            yield _table(f"## {name}", part)


def _table(heading: str, part: Schema) -> str:
    rows = []
    for key, value in part["properties"].items():
        default = "needed" if key in part.get("required", ()) else _default(value)
        rows.append(f"| `{key}` | {_takes(value)} | {default} |\n")
    return f"{heading}\n\n{_words(part)}\n\n{_HEAD}{''.join(rows)}"


def _takes(value: Schema) -> str:
    """What a key takes, in words."""
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_takes(each) for each in value["anyOf"]))
    if (name := _reference(value)) is not None:
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if value.get("type") == "array":
        inside = value.get("items") or {"type": "value"}
        several = value.get("prefixItems")
        if several:
            return f"a list of {len(several)} numbers"
        each = _takes(inside)
        return f"a list of ({each})" if " or " in each or ", " in each else f"a list of {each}"
    told = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "`true`, `false`",
        "null": "`null`",
    }
    bounds = [
        f"{words} {value[name]:,.15g}" for name, words in _BOUNDS.items() if abs(value.get(name, 1e99)) < _LARGEST
    ]
    return " ".join([told.get(value.get("type", ""), "a mapping"), *([" and ".join(bounds)] if bounds else [])])


def _default(value: Schema) -> str:
    if "default" not in value:
        return ""
    told = json.dumps(value["default"])
    return f"`{told}`" if len(told) < _LONGEST else "its own defaults"


def _kind(part: Schema) -> str:
    return str(part["properties"]["kind"]["const"])


def _words(part: Schema) -> str:
    """The description, paragraphs kept."""
    return "\n\n".join(" ".join(each.split()) for each in part.get("description", "").split("\n\n"))


def _reference(value: Any) -> str | None:
    target = value.get("$ref") if isinstance(value, Mapping) else None
    return None if target is None else str(target).rpartition("/")[2]


def _named(value: Any, *, below: bool = True) -> Iterator[str]:
    """Names of the parts that a schema refers to; `below`: in the parts of the whole schema, too."""
    if isinstance(value, Mapping):
        name = _reference(value)
        if name is not None:
            yield name
        for key, inside in value.items():
            if key != "$defs" or below:
                yield from _named(inside, below=below)
    elif isinstance(value, list):
        for inside in value:
            yield from _named(inside, below=below)
