from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs.site.commands import commands, page, write_commands
from docs.site.pages import copy_pages


def test_every_command_of_help_has_a_page_with_all_of_its_options() -> None:
    known = {each.name: each for each in commands()}
    assert {"deeprec simulate", "deeprec pipeline sweep", "deeprec profile compare"} <= set(known)
    for name in ("deeprec simulate", "deeprec pipeline sweep"):
        ran = subprocess.run(
            [sys.executable, "-m", "deeprec_env", *name.split()[1:], "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        options = {word for line in ran.stdout.splitlines() for word in line.split()[:1] if word.startswith("--")}
        text = page(known[name], {})
        assert len(options) > 5
        assert [option for option in options if f"| `{option}" not in text and f", {option}" not in text] == []


def test_examples_are_those_of_the_pages_with_links_to_them() -> None:
    (verify,) = (each for each in commands() if each.name == "deeprec verify")
    text = page(verify, {"deeprec verify r.json": ("leaderboard.md", "Results")})
    assert "```text\ndeeprec verify r.json\n```" in text
    assert "From: [Results](../leaderboard.md)." in text


def test_a_table_of_all_commands_stands_under_the_page_about_them(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    copy_pages(source)
    write_commands(source)
    text = (source / "command-line.md").read_text(encoding="utf-8")
    for each in commands():
        assert f"| [`{each.name}`](commands/{each.file}) | " in text
        assert (source / "commands" / each.file).read_text(encoding="utf-8").startswith(f"# {each.name}\n")
    shown = (source / "commands" / "simulate.md").read_text(encoding="utf-8")
    assert "deeprec simulate wnd --qps 2000 --batch-size 64" in shown
    measured = (source / "commands" / "profile-measure.md").read_text(encoding="utf-8")
    assert "deeprec profile all --output" in measured
    assert "deeprec profile compare" not in measured.partition("## Examples")[2]


@pytest.mark.parametrize("name", ["deeprec report", "deeprec simulate"])
def test_stars_and_bars_of_help_are_no_markdown(name: str) -> None:
    (command,) = (each for each in commands() if each.name == name)
    text = page(command, {})
    assert r"\*." in text
    for row in (line for line in text.splitlines() if line.startswith("| `")):
        assert row.replace(r"\|", "").count("|") == 3
