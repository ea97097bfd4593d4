"""The table of environments, made of their docstrings.

    python -m deeprec_env.envs.table docs/environments.md

rewrites what stands between the two markers. A test compares, so that the table can't drift from the classes.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from pathlib import Path

from deeprec_env.envs.environments import SPECS
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError
from deeprec_env.files import replacing

BEGIN = "<!-- environments: written by python -m deeprec_env.envs.table docs/environments.md -->"
END = "<!-- environments: end -->"


def table() -> str:
    """A column for each environment, a row for each section of its class's docstring; Markdown, newline at the end."""
    docs = [_sections(spec) for spec in SPECS]
    rows = {
        "control": [_line(doc[""]) for doc in docs],
        "action": [_line(doc["Action space"]) for doc in docs],
        "observation": [_observation(doc["Observation space"]) for doc in docs],
        "reward": [_line(doc["Reward"]) for doc in docs],
        "episode end": [_line(doc["Episode end"]) for doc in docs],
    }
    head = [["", *(f"`{spec.id}`" for spec in SPECS)], ["---"] * (1 + len(SPECS))]
    cells = [*head, *([name, *columns] for name, columns in rows.items())]
    return "".join("| " + " | ".join(row) + " |\n" for row in cells)


def rewritten(text: str, name: str) -> str:
    """The text of a file with the table between its markers; `InputError` where it has not both, in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError("file", name, f"must hold the lines {BEGIN} and, behind it, {END}")
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def _sections(spec: EnvSpec) -> dict[str, str]:
    """The docstring by its headings; its first line is under the empty one."""
    documented = inspect.getdoc(pkgutil.resolve_name(spec.env)) or ""
    first, *parts = re.split(r"^## (.+)\n", documented, flags=re.MULTILINE)
    found = {"": first, **dict(zip(parts[::2], parts[1::2], strict=True))}
    for needed in ("Action space", "Observation space", "Reward", "Episode end"):
        if needed not in found:
            raise ValueError(f"the docstring of {spec.id} must have a section '## {needed}'")
    return found


def _observation(section: str) -> str:
    """The space and the names of its entries, from the section's first code span and its table's second column."""
    space = re.search(r"`[^`]+`", section)
    fields = re.findall(r"^\| *\d[^|]*\| *([^|]+?) *\|", section, flags=re.MULTILINE)
    if space is None or not fields:
        raise ValueError("the section 'Observation space' must name the space and hold a table of its entries")
    return _line(f"{space[0]}: {', '.join(fields)}")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> None:
    """Rewrite the table of a file."""
    if len(arguments) != 1:
        raise SystemExit("python -m deeprec_env.envs.table FILE.md")
    path = Path(arguments[0])
    text = rewritten(path.read_text(encoding="utf-8"), str(path))
    with replacing(path) as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
