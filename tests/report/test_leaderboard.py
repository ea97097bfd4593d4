"""The leaderboard: only what verifies stands on it, and what stands there is what the files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprec_env.policies.evaluation import paired
from deeprec_env.report.leaderboard import leaderboard_page
from deeprec_env.report.markdown import markdown_of
from deeprec_env.report.sources import read_sources
from deeprec_env.report.words import with_ci
from tests.report.test_report import made, scenario
from tests.test_cli import call

__all__ = ["scenario"]  # the fixture

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = sorted((ROOT / "docs/leaderboard").glob("*.json"))

Capsys = pytest.CaptureFixture[str]


def test_rows_of_several_files_are_ranked_on_the_days_that_they_share(
    tmp_path: Path, scenario: Path, capsys: Capsys
) -> None:
    days = ("--seeds", 2, "--queries", 1500)
    first = made(capsys, tmp_path / "first.json", "evaluate", scenario, *days, "--policies", "static,random")
    second = made(capsys, tmp_path / "second.json", "evaluate", scenario, *days, "--policies", "static,hindsight")
    other = made(
        capsys, tmp_path / "other.json", "evaluate", scenario, "--seeds", 1, "--queries", 1500, "--policies", "static"
    )
    page = tmp_path / "page.md"
    status, out, err = call(capsys, "leaderboard", first, second, other, "--output", page)
    assert (status, err) == (0, "")
    assert out == f"written: {page}; 5 rows verified\n"
    text = page.read_text(encoding="utf-8")
    assert "## DeepRec/Serving-v1, traffic day: first, second\n" in text
    assert "## DeepRec/Serving-v1, traffic day: other\n" in text  # other days: another board
    shared = text.split("## DeepRec")[1]
    rows = {
        cells[1]: cells for line in shared.splitlines() if len(cells := cells_of(line)) == 8 and cells[1] != "policy"
    }
    answers = [json.loads(path.read_text()) for path in (first, second)]
    assert set(rows) == {"---:", "static", "random", "hindsight"}  # static once: it did the same in both
    assert {name: rows[name][0] for name in ("static", "random", "hindsight")} == {
        "static": "1", "random": "2", "hindsight": "-",
    }  # fmt: skip
    values = {name: of["episodes"][name]["p95_hourly_s"] for of in answers for name in of["episodes"]}
    versus = paired.ratio(values["hindsight"], values["static"])  # of two files, paired by day
    assert versus is not None
    assert rows["hindsight"][3] == with_ci(versus.value, versus.ci, 3)
    assert rows["random"][2].startswith(f"{answers[0]['policies']['random']['p95_hourly_ms']:.4g}")


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_is_edited_stands_on_no_page(tmp_path: Path, scenario: Path, capsys: Capsys) -> None:
    path = made(
        capsys, tmp_path / "result.json", "evaluate", scenario, "--seeds", 2, "--queries", 1500,
        "--policies", "static,random",
    )  # fmt: skip
    answer = json.loads(path.read_text())
    better = json.loads(path.read_text())
    better["policies"]["random"]["p95_hourly_ms"] *= 0.9
    newer = json.loads(path.read_text())
    newer["versions"]["deeprec_env"] = "99.0"
    page = tmp_path / "page.md"
    for edited, said in ((better, "random: not the same, 1 of"), (newer, "another version: deeprec_env 99.0")):
        path.write_text(json.dumps(edited), encoding="utf-8")
        status, out, _ = call(capsys, "leaderboard", path, "--output", page)
        assert status == 1
        assert said in out
        assert not page.exists()
    path.write_text(json.dumps(answer)[:-40], encoding="utf-8")
    run = made(capsys, tmp_path / "run.json", "simulate", scenario, "--queries", 1100)
    for what, output, said in (
        (path, page, "must be the JSON of a result"),
        (run, page, "must be evaluate"),
        (run, tmp_path / "page.txt", "must be a file named"),
    ):
        status, out, err = call(capsys, "leaderboard", what, "--output", output)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_the_published_page_is_made_of_the_published_files() -> None:
    page = (ROOT / "docs/leaderboard-table.md").read_text(encoding="utf-8")
    assert len(PUBLISHED) >= 2
    assert markdown_of(leaderboard_page(read_sources(PUBLISHED), drawn=False)) == page


@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in PUBLISHED])
def test_published_rows_verify(path: Path, capsys: Capsys) -> None:
    status, out, err = call(capsys, "verify", path, "--rows", "grid-day,load-table")
    assert (status, err) == (0, "")
    assert out.startswith("same: grid-day, load-table\n")
