"""`--plot`: a picture beside the same figures, refused before long work where it can't be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import day_scenario
from tests.test_cli import call

pytest.importorskip("matplotlib")

BEGINS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize(
    ("command", "options", "kind", "shown"),
    [
        ("simulate", ("--queries", 1500), "svg", "Share of the queries that took at least so long"),
        ("capacity", ("--queries", 2000), "svg", "Capacity"),
        ("evaluate", ("--policies", "static,random", "--seeds", 2, "--queries", 1500), "svg", "random"),
        ("simulate", ("--queries", 1100), "png", ""),
    ],
)
def test_a_picture_beside_the_same_figures(
    command: str,
    options: tuple[object, ...],
    kind: str,
    shown: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("matplotlib").rcParams, "svg.fonttype", "none")  # letters, not their outlines
    scenario = tmp_path / "node.yaml"
    scenario.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    path, answers = tmp_path / f"drawn.{kind}", []
    for more in ((), ("--plot", path)):
        status, out, err = call(capsys, command, scenario, *options, *more, "--json")
        assert (status, err) == (0, "")
        answers.append(json.loads(out))
        del answers[-1]["question"]["line"]
    assert answers[0] == answers[1]
    content = path.read_bytes()
    assert content.startswith(BEGINS[kind])
    assert shown.encode() in content


@pytest.mark.parametrize("command", ["simulate", "capacity", "evaluate"])
def test_a_picture_that_cannot_be_is_said_first(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, said in (
        (tmp_path / "drawn.txt", "must be a file named *.png"),
        (tmp_path / "no" / "a.png", "its folder"),
    ):
        status, out, err = call(capsys, command, "ncf", "--plot", path)
        assert (status, out) == (2, "")
        assert err.startswith("error: plot: got")
        assert said in err
