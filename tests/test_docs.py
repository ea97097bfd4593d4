"""Documentation that can't drift: its commands are the command line's, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from deeprec_env.cli.main import app
from tests.docs import blocks

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.name for page in PAGES]


def commands(page: Path, start: str) -> list[list[str]]:
    """The words of every line of a plain fenced block that starts so, without comments and redirections."""
    whole = [block.replace("\\\n", " ") for block in blocks(page, "")]  # a line may go on after a backslash
    lines = [line for block in whole for line in block.splitlines() if line.startswith(start)]
    return [shlex.split(line.partition(" > ")[0], comments=True)[len(start.split()) :] for line in lines]


def parse(command: Any, name: str, words: list[str]) -> None:
    """Parse a command's words as the command line does, without running it; raises for what it would refuse."""
    context = command.make_context(name, list(words))
    if hasattr(command, "commands"):
        found, subcommand, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parse(subcommand, found, rest)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_the_command_lines(page: Path) -> None:
    for words in commands(page, "deeprec "):
        if "--help" not in words:
            parse(typer.main.get_command(app), "deeprec", words)


def test_a_wrong_command_would_be_noticed() -> None:
    assert len(commands(ROOT / "docs" / "command-line.md", "deeprec ")) > 10
    for words in (["simulate", "wnd", "--no-such-option"], ["no-such-command"], ["simulate", "wnd", "--queries", "x"]):
        with pytest.raises(typer.TyperException):
            parse(typer.main.get_command(app), "deeprec", words)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_modules_to_run_are_there(page: Path) -> None:
    for words in commands(page, "python -m "):
        path = ROOT / words[0].replace(".", "/")
        if words[0].split(".")[0] == "rl_zoo3":  # not ours: an installed package
            continue
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), words


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_model_of_the_contributors_page_scores_items() -> None:
    import torch

    from deeprec_env.models import draw_inputs

    module: dict[str, Any] = {}
    exec(blocks(ROOT / "CONTRIBUTING.md", "python")[0], module)
    model = module["Small"]()
    with torch.inference_mode():
        scores = model(**draw_inputs(model.input_spec, 7, np.random.default_rng(0)))
    assert scores.shape == (7, 1)
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_of_ours_that_are_named_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:deeprec_env|policies|agents|tests|examples|benchmarks)/[\w./-]+)`", page.read_text("utf-8")
    )
    assert [name for name in named if not (ROOT / name.replace("ALGO", "ppo")).exists()] == []
