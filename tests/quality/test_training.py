from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.quality.checkpoints import load
from deeprec_env.quality.sources import Recipe, Source
from deeprec_env.quality.training import TrainSettings, load_scores, train
from tests.quality.files import criteo_lines, ratings, write

SMALL = Recipe(epochs=2, batch=256, rate=4e-3, embedding_rate=1.6e-2)


def nothing(what: str, steps: int) -> None:
    pass


@pytest.fixture
def train_txt(tmp_path: Path) -> Path:
    return write(tmp_path / "train.txt", criteo_lines())


def settings(path: Path, *models: str, **more: Any) -> TrainSettings:
    return TrainSettings(**{"source": Source("criteo-kaggle", str(path)), "models": models, "recipe": SMALL, **more})


def weights(path: Path) -> dict[str, Any]:
    return load(path).state


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_model_learns_and_is_the_same_for_a_seed(train_txt: Path, tmp_path: Path) -> None:
    longer = Recipe(4, 128, 4e-3, 1.6e-2)
    result = train(settings(train_txt, "dim_4", recipe=longer), tmp_path / "a", nothing)["models"]["dim_4"]
    assert result["auc"] > 0.7
    assert result["accuracy"] == 1 - result["error"]
    assert 0 < result["ndcg@64"] <= 1
    assert (result["items"], result["queries"]) == (600, 128)
    train(settings(train_txt, "dim_4", recipe=longer), tmp_path / "b", nothing)
    assert same(tmp_path / "a/dim_4.pt", tmp_path / "b/dim_4.pt")
    other = Source("criteo-kaggle", str(train_txt), seed=1)
    train(settings(train_txt, "dim_4", recipe=longer, source=other, seed=1), tmp_path / "c", nothing)
    assert not same(tmp_path / "a/dim_4.pt", tmp_path / "c/dim_4.pt")


def test_an_interrupted_training_goes_on_and_ends_the_same(train_txt: Path, tmp_path: Path) -> None:
    wanted = settings(train_txt, "dim_4", "dim_16")
    whole = train(wanted, tmp_path / "whole", nothing)

    def interrupt(what: str, steps: int) -> None:
        if "dim_16, epoch 2" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / "cut", interrupt)
    assert load(tmp_path / "cut/dim_16.pt").epochs == 1
    done: list[str] = []
    assert train(wanted, tmp_path / "cut", lambda what, steps: done.append(what)) == whole
    assert not any("dim_4" in what or "dim_16, epoch 1" in what for what in done)
    assert same(tmp_path / "whole/dim_16.pt", tmp_path / "cut/dim_16.pt")
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["dim_16.pt", "dim_4.pt"]


def test_what_is_trained_is_not_trained_again_and_other_settings_are_refused(train_txt: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    first = train(settings(train_txt, "dim_4"), folder, nothing)
    train_txt.unlink()  # the data is not needed
    assert train(settings(train_txt, "dim_4"), folder, nothing)["models"] == first["models"]
    with pytest.raises(InputError, match=r"seed: got 3; .*was trained with 0"):
        train(settings(train_txt, "dim_4", seed=3), folder, nothing)
    write(train_txt, criteo_lines(1000))
    with pytest.raises(InputError, match="has changed since dim_4 was trained on it"):
        load_scores(folder, 1, nothing)
    (folder / "dim_4.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match="must be a model that 'deeprec quality train' wrote"):
        train(settings(train_txt, "dim_4"), folder, nothing)


def test_large_tables_learn_by_sparse_gradients(
    train_txt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deeprec_env.quality.models.SPARSE_ROWS", 1)
    longer = Recipe(4, 128, 4e-3, 1.6e-2)
    result = train(settings(train_txt, "dim_4", recipe=longer), tmp_path / "a", nothing)["models"]["dim_4"]
    assert result["auc"] > 0.7


def test_neumf_learns_whom_a_movie_is_for(tmp_path: Path) -> None:
    path = write(tmp_path / "ratings.dat", ["::".join(map(str, row)) for row in ratings(users=300)])
    source = Source("movielens-1m", str(path))
    recipe = Recipe(6, 512, 5e-3, 2e-2)
    result = train(TrainSettings(source, ("neumf_small",), recipe), tmp_path / "models", nothing)["models"]
    # A quarter of the movies is for each user: at random 6 % of the held-out ones would be in the first 64.
    assert result["neumf_small"]["hit_rate@64"] > 0.12
    assert result["neumf_small"]["auc"] > 0.7
    assert result["neumf_small"]["items"] == 1000


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"models": ("neumf_small",)}, "model: got 'neumf_small'; must be all or one of dim_4"),
        ({"recipe": Recipe(0, 256, 1e-3, 1e-3)}, "epochs: got 0"),
        ({"recipe": Recipe(1, 256, -1e-3, 1e-3)}, "rate: got -0.001"),
        ({"threads": 0}, "threads: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"models": ("dim_4", "dim_16"), "weights": "x.pt"}, "needs one --model"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], named: str, train_txt: Path) -> None:
    with pytest.raises(InputError) as raised:
        settings(train_txt, **{"models": ("dim_4",), **change})
    assert named in str(raised.value)


def test_the_commands_train_and_write_the_table(
    train_txt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "models", tmp_path / "quality.csv"

    def payload(*arguments: object) -> dict[str, Any]:
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert (stopped.value.code, captured.err) == (0, "")
        parsed: dict[str, Any] = json.loads(captured.out)
        return parsed

    common = ("--data", "criteo-kaggle", "--path", train_txt, "--epochs", 1)
    trained = payload("quality", "train", *common, "--output", folder)
    assert list(trained["models"]) == ["dim_4", "dim_16", "dim_32"]
    assert trained["skipped_lines"] == 0
    grid = ("--items", "256,128", "--keep", "128,64", "--queries", 4)
    table = payload("quality", "table", "--checkpoints", folder, "--output", out, *grid)
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["pipeline"] for row in rows] == [row["pipeline"] for row in table["pipelines"]]
    # Singles at two numbers of items; in twos 3 pairs x (2 + 1); in threes 256-128-64 alone.
    assert len(rows) == len({row["pipeline"] for row in rows}) == 6 + 9 + 1
    two = next(row for row in rows if row["pipeline"] == "dim_4@256-dim_32@64")
    assert (two["stages"], two["models"], two["items"], two["queries"]) == ("2", "dim_4-dim_32", "256-64", "4")
    alone = next(row for row in rows if row["pipeline"] == "dim_32@256")
    assert float(two["difference"]) == pytest.approx(float(two["ndcg@64"]) - float(alone["ndcg@64"]))
    assert trained["question"]["arguments"]["recipe"]["epochs"] == 1
    for found, why in ((trained, "it trained models"), (table, f"it needs the trained models in {folder}")):
        (tmp_path / "result.json").write_text(json.dumps(found), encoding="utf-8")
        with pytest.raises(SystemExit) as stopped:
            main(["rerun", str(tmp_path / "result.json")])
        assert stopped.value.code == 2
        assert f"can't be had again from its question: {why}" in capsys.readouterr().err
    before = out.read_bytes()
    payload("quality", "table", "--checkpoints", folder, "--output", out, *grid)
    assert out.read_bytes() == before
    with pytest.raises(SystemExit) as stopped:
        main(["quality", "table", "--checkpoints", str(tmp_path / "none"), "--output", str(out)])
    assert stopped.value.code == 2
    assert "must hold models" in capsys.readouterr().err
    assert np.isfinite(float(two["difference_ci"]))


def test_malformed_lines_past_the_limit_end_the_command_in_one_line(
    train_txt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = train_txt.read_text(encoding="utf-8").splitlines()
    written[99] = written[99].replace("\t", ",")
    write(train_txt, written)
    arguments = ["quality", "train", "--data", "criteo-kaggle", "--path", str(train_txt), "--model", "dim_4"]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--output", str(tmp_path / "models"), "--max-malformed", "0"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"{train_txt}, line 100, column count 1" in message
    assert not (tmp_path / "models").exists()
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--output", str(tmp_path / "models"), "--epochs", "1"])
    assert stopped.value.code == 0
    assert "skipped 1 malformed lines: train.txt:100" in capsys.readouterr().err
