"""YAML without surprises: plain data alone, and a key that is given twice is an error."""

from __future__ import annotations

from typing import Any

import yaml

from deeprec_env.errors import InputError


def parse_yaml(text: str, field: str, name: str) -> Any:
    """The data of a YAML text; `InputError` for `field` names the file, and the line of a key that is given twice."""
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except _KeyGivenTwice as error:
        raise InputError(
            f"{field} {name} line {error.line}", error.key, f"must be given once; line {error.first} has it already"
        ) from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(field, f"{name}{where}", f"must be YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise InputError(field, name, f"must be YAML ({' '.join(str(error).split())})") from None


class _KeyGivenTwice(Exception):
    def __init__(self, key: str, line: int, first: int) -> None:
        self.key, self.line, self.first = key, line, first


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML lets the last of equal keys win. They are looked for before merges (<<) add a mapping's inherited keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if (key.tag, key.value) in lines:
                    raise _KeyGivenTwice(key.value, line, lines[key.tag, key.value])
                lines[key.tag, key.value] = line
        return node
