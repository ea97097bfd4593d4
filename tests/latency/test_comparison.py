"""Speed-ups of one profile over another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.latency import load_profile
from deeprec_env.latency.comparison import Comparison, Point, compare
from deeprec_env.latency.estimate import BATCHES, SPEED_UPS
from deeprec_env.latency.table import LEVELS, ProfileRow, ProfileTable


def table(medians: dict[int, float], *, part: str = "compute", device: str = "x", threads: int = 1) -> ProfileTable:
    rows = (ProfileRow("m", device, b, part, 9, ms, (ms,) * len(LEVELS), threads) for b, ms in medians.items())
    return ProfileTable({}, tuple(rows))


def test_the_estimates_speed_ups_are_the_published_ones_it_was_made_from() -> None:
    compared = compare(load_profile("amd-epyc-milan"), load_profile("gtx-1080-ti-estimated"), (None, None))
    assert [entry.model for entry in compared] == list(SPEED_UPS)
    for entry in compared:
        assert tuple(point.batch for point in entry.points) == BATCHES
        assert [point.speed_up for point in entry.points] == pytest.approx(SPEED_UPS[entry.model], rel=1e-4)


def test_the_crossover_is_where_both_lines_meet() -> None:
    a, b = table({1: 1.0, 9: 9.0}), table({1: 3.0, 5: 5.0, 9: 5.0})
    (entry,) = compare(a, b, (None, None))
    assert [point.speed_up for point in entry.points] == pytest.approx([1 / 3, 9 / 5])
    # A is n, B is 3 + (n - 1) / 4 between the common batches 1 and 9: equal at 11 / 3.
    assert entry.crossovers() == pytest.approx([11 / 3])


@pytest.mark.parametrize(
    ("differences", "crossings"),
    [((1, 1, 1), []), ((-1, 1, -1), [1.5, 2.5]), ((-1, 0, 1), [2.0]), ((0, 1, 1), []), ((-1, 0, 0), [])],
)
def test_every_crossing_is_given_once(differences: tuple[int, ...], crossings: list[float]) -> None:
    points = tuple(Point(batch, 5.0 + difference, 5.0) for batch, difference in enumerate(differences, start=1))
    assert Comparison("m", points).crossovers() == pytest.approx(crossings)


def test_parts_are_summed_and_threads_chosen() -> None:
    compute, load = table({1: 3.0}), table({1: 2.0}, part="load")
    both = ProfileTable({}, compute.rows + load.rows)
    (entry,) = compare(both, table({1: 2.5}), (None, None))
    assert entry.points[0].speed_up == pytest.approx(2.0)
    several = ProfileTable({}, compute.rows + table({1: 1.5}, threads=2).rows)
    assert compare(several, several, (1, 2))[0].points[0].speed_up == pytest.approx(2.0)
    with pytest.raises(InputError, match="threads: got 3; B holds 1, 2 for m"):
        compare(several, several, (None, 3))


def test_profiles_without_anything_in_common_are_refused() -> None:
    with pytest.raises(InputError, match="has no model and batch in common"):
        compare(table({1: 1.0}), table({2: 1.0}), (None, None))
    mixed = ProfileTable({}, table({1: 1.0}).rows + table({1: 1.0}, device="y").rows)
    with pytest.raises(InputError, match="must hold m on one device"):
        compare(mixed, table({1: 1.0}), (None, None))


def test_the_command_writes_table_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["profile", "compare", "amd-epyc-milan", "gtx-1080-ti-estimated", "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (stopped.value.code, found["schema_version"]) == (0, 1)
    assert found["models"]["wnd"]["speed_up"]["64"] == pytest.approx(1.63, rel=1e-3)
    assert 16 < found["models"]["wnd"]["crossover_batches"][0] < 64
    lines = Path(found["csv"]).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "model,batch,a_ms,b_ms,speed_up"
    assert len(lines) == 1 + 8 * 6
    assert Path(found["picture"]).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--threads", "1"])
    assert "threads: got '1'; must be two whole numbers" in capsys.readouterr().err
