from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprec_env import InputError
from deeprec_env.quality import lines as lines_module
from deeprec_env.quality.sources import Source
from tests.quality.files import criteo_lines, write


def load(path: Path, name: str = "criteo-kaggle", **options: int):  # type: ignore[no-untyped-def]
    return Source(name, str(path), **options).load(lambda what, steps: None)  # type: ignore[arg-type]


@pytest.fixture
def train_txt(tmp_path: Path) -> Path:
    return write(tmp_path / "train.txt", criteo_lines())


def test_columns_arrive_as_written(train_txt: Path) -> None:
    data, malformed = load(train_txt)
    assert malformed.count == 0
    written = [line.split("\t") for line in criteo_lines()]
    labels = np.concatenate([data.train.labels, data.test.labels])
    assert labels.tolist() == [float(row[0]) for row in written]
    dense = np.concatenate([data.train.dense, data.test.dense])
    expected = [[np.log1p(max(int(value or 0), 0)) for value in row[1:14]] for row in written]
    np.testing.assert_allclose(dense, np.array(expected), rtol=1e-6)
    assert len(data.test) == 600


def test_categories_are_numbered_by_first_appearance_and_unseen_ones_are_0(train_txt: Path) -> None:
    data, _ = load(train_txt)
    written = [line.split("\t") for line in criteo_lines()]
    unseen = 0
    for table in (0, 7, 25):
        column = [row[14 + table] or "00000000" for row in written]
        vocabulary = {value: row for row, value in enumerate(dict.fromkeys(column[:3600]), start=1)}
        expected = [vocabulary.get(value, 0) for value in column]
        got = np.concatenate([data.train.categories[:, table], data.test.categories[:, table]])
        assert got.tolist() == expected
        assert data.rows[table] == len(vocabulary) + 1
        unseen += expected[3600:].count(0)
    assert unseen > 0


def test_blocks_gzip_and_folders_of_days_hold_the_same(
    train_txt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = load(train_txt)
    folder = tmp_path / "days"
    folder.mkdir()
    for day in range(12):  # day_10 is after day_9
        part = "\n".join(criteo_lines()[350 * day : 350 * (day + 1)]) + "\n"
        if day % 2:
            (folder / f"day_{day}").write_text(part, encoding="utf-8")
        else:
            (folder / f"day_{day}.gz").write_bytes(gzip.compress(part.encode()))
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 60_000)
    for data, _ in (load(folder, "criteo-terabyte"), load(train_txt)):
        np.testing.assert_array_equal(data.test.categories, whole.test.categories)
        np.testing.assert_array_equal(data.train.dense, whole.train.dense)


def test_lines_and_max_rows_bound_what_is_kept(train_txt: Path) -> None:
    data, _ = load(train_txt, lines=700, max_rows=20)
    assert (len(data.train), len(data.test)) == (600, 100)
    assert max(data.rows) == 20
    assert data.train.categories.max() < 20
    assert data.train.categories.min() >= 0


BROKEN = {
    "label": (0, "2", "column label: 2", "must be 0 or 1"),
    "integer": (3, "7.5", "column integer 3: 7.5", "whole number"),
    "category": (20, "xyz12345", "column category 7: xyz12345", "8 hex digits"),
    "cut category": (39, "7b4", "column category 26: 7b4", "8 hex digits"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_value_is_named_with_file_line_and_column(what: str, tmp_path: Path) -> None:
    column, value, named, allowed = BROKEN[what]
    written = criteo_lines(3000)
    row = written[1234].split("\t")
    row[column] = value
    written[1234] = "\t".join(row)
    path = write(tmp_path / "train.txt", written)
    with pytest.raises(InputError) as raised:
        load(path, max_malformed=0)
    for part in (str(path), "line 1235", named, allowed):
        assert part in str(raised.value)
    data, malformed = load(path, max_malformed=1)
    assert malformed.summary() == {"skipped_lines": 1, "first_skipped": ["train.txt:1235"]}
    assert len(data.train) + len(data.test) == 2999


def test_lines_of_other_columns_and_a_truncated_end_are_counted_up_to_the_limit(tmp_path: Path) -> None:
    written = criteo_lines(2000)
    written[10] += "\t1"
    written[20] = ""
    path = tmp_path / "train.txt"
    path.write_bytes(("\r\n".join(written[:-1]) + "\n" + written[-1][:50]).encode() + b"\xff")
    _, malformed = load(path, max_malformed=3)
    assert malformed.first == ["train.txt:11", "train.txt:21", "train.txt:2000"]
    with pytest.raises(InputError, match=r"line 2000, column count .*must be 40 columns.*--max-malformed allows 2"):
        load(path, max_malformed=2)


def test_files_that_are_no_logs_are_refused(tmp_path: Path) -> None:
    cut = tmp_path / "day_0.gz"
    cut.write_bytes(gzip.compress("\n".join(criteo_lines(500)).encode())[:-2000])
    empty = tmp_path / "empty.txt"
    empty.touch()
    for path, reason in ((cut, "readable"), (empty, "not be empty"), (tmp_path / "none.txt", "readable")):
        with pytest.raises(InputError, match=reason):
            load(path)
    with pytest.raises(InputError, match="at least 7 well-formed lines"):
        load(write(tmp_path / "short.txt", criteo_lines(3)))
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="a folder that holds day_0"):
        load(tmp_path / "other")


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 1000)
    path = tmp_path / "binary"
    path.write_bytes(b"1" * 5000)
    with pytest.raises(InputError, match="line of less than 1000 bytes"):
        load(path)


@pytest.mark.parametrize(
    "source",
    [
        {"name": "criteo"},
        {"name": "criteo-kaggle"},
        {"name": "synthetic", "path": "x"},
        {"name": "synthetic", "lines": 10},
        {"name": "criteo-kaggle", "path": "x", "max_rows": 1},
        {"name": "synthetic", "seed": -1},
    ],
)
def test_sources_that_make_no_sense_are_refused(source: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Source(**source)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(st.data())
def test_whatever_is_in_a_file_either_loads_or_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = "\n".join(criteo_lines(40)).encode()
    at = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.mktemp("fuzz") / "train.txt"
    path.write_bytes(content[:at] + data.draw(st.binary(max_size=30)) + content[at + data.draw(st.integers(0, 300)) :])
    limit = data.draw(st.integers(0, 3))
    message = ""
    try:
        loaded, malformed = load(path, max_malformed=limit)
    except InputError as error:
        message = str(error)
    if message:
        assert f"{path}, line " in message
        assert f"--max-malformed allows {limit}" in message
    else:
        assert malformed.count <= limit
        assert np.isfinite(loaded.train.dense).all()
        assert (loaded.train.categories < np.array(loaded.rows)).all()
