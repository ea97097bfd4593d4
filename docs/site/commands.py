"""A page for each command, made of what `--help` says and of the documentation's own examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer.main

from deeprec_env.cli.main import app
from docs.site.pages import heading

FOLDER = "commands"
MOST_EXAMPLES = 8
_FENCED = re.compile(r"^```(.*?)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_CONTINUED = re.compile(r" *\\\n *")


Stands = tuple[str, str]
"""A page by its name from the site's root, and its title."""


class Command(NamedTuple):
    """A command that does something: its words ("deeprec", "pipeline", "sweep"), itself and its context."""

    words: tuple[str, ...]
    command: Any
    context: Any

    @property
    def name(self) -> str:
        """All of its words."""
        return " ".join(self.words)

    @property
    def file(self) -> str:
        """The name of its page."""
        return "-".join(self.words[1:]) + ".md"


def commands() -> list[Command]:
    """Every command in the order of `deeprec --help`, groups opened."""
    return list(_within(typer.main.get_command(app), ("deeprec",), None))


def _within(command: Any, words: tuple[str, ...], parent: Any) -> Iterator[Command]:
    context = command.context_class(command, info_name=words[-1], parent=parent)
    if not hasattr(command, "commands"):
        yield Command(words, command, context)
        return
    for name, subcommand in command.commands.items():
        yield from _within(subcommand, (*words, name), context)


def write_commands(source: Path) -> None:
    """Write a page for each command into the site's sources, and the list of them under the page about all."""
    (source / FOLDER).mkdir()
    known = commands()
    shown = _examples(source, known)
    for each in known:
        (source / FOLDER / each.file).write_text(page(each, shown[each.name]), encoding="utf-8")
    rows = [f"| [`{each.name}`]({FOLDER}/{each.file}) | {_plain(_summary(each))} |\n" for each in known]
    overview = source / "command-line.md"
    table = "\n## Every command\n\n| command | what it does |\n| --- | --- |\n" + "".join(rows)
    overview.write_text(overview.read_text(encoding="utf-8") + table, encoding="utf-8")


def page(command: Command, examples: Mapping[str, Stands]) -> str:
    """A command's page; `examples` are command lines, and where they stand."""
    help_text = "\n\n".join(" ".join(part.split()) for part in (command.command.help or "").split("\n\n"))
    usage = " ".join(command.command.get_usage(command.context).removeprefix("Usage: ").split())
    parts = [f"# {command.name}\n", f"{_plain(help_text)}\n", f"```text\n{usage}\n```\n"]
    rows: dict[str, list[str]] = {"argument": [], "option": []}
    for parameter in command.command.get_params(command.context):
        record = parameter.get_help_record(command.context)
        if record is not None:
            rows[parameter.param_type_name].append(f"| `{record[0]}` | {_plain(record[1])} |\n")
    for kind in (kind for kind in rows if rows[kind]):
        parts.append(f"## {kind.capitalize()}s\n\n| {kind} | what it does |\n| --- | --- |\n{''.join(rows[kind])}")
    if command.command.epilog:
        parts.append(f"{_plain(command.command.epilog)}\n")
    if examples:
        links = ", ".join(f"[{title}](../{name})" for name, title in dict.fromkeys(examples.values()))
        lines = "".join(f"{line}\n" for line in examples)
        parts.append(f"## Examples\n\n```text\n{lines}```\n\nFrom: {links}.\n")
    return "\n".join(parts)


def _summary(command: Command) -> str:
    """The first sentence of the help."""
    text = " ".join((command.command.help or "").split())
    return text.partition(". ")[0].rstrip(".") + "."


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_\[\]<|])", r"\\\1", text)


def _examples(source: Path, known: list[Command]) -> dict[str, dict[str, Stands]]:
    """For each command its lines in blocks of the pages, each with the first page that it stands on."""
    names = sorted((each.words for each in known), key=len, reverse=True)
    found: dict[str, dict[str, Stands]] = {each.name: {} for each in known}
    for path in sorted(source.rglob("*.md")):
        stands = path.relative_to(source).as_posix(), heading(path)
        fenced = _FENCED.findall(path.read_text(encoding="utf-8"))
        for block in (block for language, block in fenced if language in ("", "bash")):
            for line in _CONTINUED.sub(" ", block).splitlines():
                words = next((words for words in names if _begins(line, words)), None)
                if words is not None and len(found[" ".join(words)]) < MOST_EXAMPLES:
                    found[" ".join(words)].setdefault(line, stands)
    return found


def _begins(line: str, words: tuple[str, ...]) -> bool:
    """Whether a line of a block is that command; `deeprec profile MODEL` measures."""
    if not line.startswith("deeprec "):
        return False
    try:
        typed = shlex.split(line, comments=True)
    except ValueError:  # a quotation that ends on another line
        return False
    if words[-1] == "measure" and typed[1] == "profile" and typed[2:3] != ["compare"]:
        return True
    return tuple(typed[: len(words)]) == words
