"""YAML without surprises: plain data alone; a key that is given twice, or a number in base 8 or 60, is an error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from deeprec_env.errors import MOST_SHOWN, InputError

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]{0,400}|0x[0-9a-fA-F_]{1,400})")


def parse_yaml(text: str, field: str, name: str) -> Any:
    """The data of a YAML text; `InputError` for `field` names the file, and the line of a key that is given twice."""
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except _KeyGivenTwice as error:
        raise InputError(
            f"{field} {name} line {error.line}", error.key, f"must be given once; line {error.first} has it already"
        ) from None
    except _OtherBase as error:
        raise InputError(
            f"{field} {name} line {error.line}", error.text, "must be a decimal number (YAML 1.1 takes 010 for 8 and "
            "1:30 for 90) of at most 400 digits; quote it if it is a text"
        ) from None  # fmt: skip
    except RecursionError:
        raise InputError(field, name, "must be YAML that is not nested so deep") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(field, f"{name}{where}", f"must be YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise InputError(field, name, f"must be YAML ({' '.join(str(error).split())})") from None
    except ValueError as error:  # a date that is none, or the like
        raise InputError(field, name, f"must be YAML ({' '.join(str(error).split())[:MOST_SHOWN]})") from None


class _KeyGivenTwice(Exception):
    def __init__(self, key: str, line: int, first: int) -> None:
        self.key, self.line, self.first = key, line, first


class _OtherBase(Exception):
    def __init__(self, text: str, line: int) -> None:
        self.text, self.line = text, line


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

    def construct_decimal(self, node: yaml.ScalarNode) -> Any:
        """A number as it reads; 0x1F is no slip."""
        text = node.value
        whole = node.tag == "tag:yaml.org,2002:int"
        if not _WHOLE.fullmatch(text) if whole else ":" in text:
            raise _OtherBase(text, node.start_mark.line + 1)
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _UniqueKeys.add_constructor(f"tag:yaml.org,2002:{_kind}", _UniqueKeys.construct_decimal)
