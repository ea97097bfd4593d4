"""A user's own models: module:factory and entry points."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.latency.table import read_profile
from deeprec_env.models import build_model, check_model, model_names
from deeprec_env.models.dlrm import Dlrm

SOURCE = """
import torch
from torch import nn
from deeprec_env.models.dlrm import DlrmConfig
from deeprec_env.models.inputs import DenseInput, IndexInput
from deeprec_env.models.layers import Tables

CONFIG = DlrmConfig(Tables(2, 1000, 8, 3), 16, (8, 4), (8, 1))


class Tiny(nn.Module):
    input_spec = {"dense": DenseInput(4), "rows": IndexInput((3,), 50)}

    def __init__(self):
        super().__init__()
        self.table, self.top = nn.Embedding(50, 8), nn.Linear(12, 1)

    def forward(self, dense, rows):
        return torch.sigmoid(self.top(torch.cat([dense, self.table(rows).sum(dim=1)], dim=1)))


def config():
    return CONFIG


def bare():
    return nn.Linear(3, 1)


def wrong():
    model = nn.Linear(3, 1)
    model.input_spec = {"x": 3}
    return model


def unfit():
    model = nn.Linear(3, 1)
    model.input_spec = {"x": DenseInput(3)}
    return model


def number():
    return 3


THREE = 3
"""

PACKAGE = "deeprec_own_models"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder, and a broken one."""
    (tmp_path / f"{PACKAGE}.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / f"{PACKAGE}_broken.py").write_text("raise RuntimeError('no weights')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield PACKAGE
    for name in (PACKAGE, f"{PACKAGE}_broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("factory", "name"), [("Tiny", None), ("config", "mine"), ("CONFIG", None)])
def test_a_users_own_model_is_profiled(package: str, tmp_path: Path, factory: str, name: str | None) -> None:
    model, output = f"{package}:{factory}", tmp_path / "own.csv"
    named = ["--name", name] if name else []
    arguments = ["profile", model, "--batches", "1,4", "--passes", "1", "--output", str(output), *named, "--json"]
    for _ in range(2):  # the second time, all is there already
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
    table = read_profile(output)
    assert table.models() == [name or model]
    assert [row.batch for row in table.rows] == [1, 4]
    assert table.header["passes"].startswith("quietest 1 of 1")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "deeprec_no_such_module:f",
            "can't be imported (ModuleNotFoundError: No module named",
        ),
        ("PACKAGE_broken:f", "can't be imported (RuntimeError: no weights)"),
        ("PACKAGE:absent", "has no attribute 'absent'"),
        ("PACKAGE:THREE", "must be a factory, or have build"),
        ("PACKAGE:bare", "needs input_spec"),
        ("PACKAGE:wrong", "needs input_spec"),
        ("PACKAGE:unfit", "its forward must take what its input_spec says (TypeError: "),
        ("PACKAGE:number", "must make a torch.nn.Module, made a int"),
        ("PACKAGE", "must be 'all' or one of dlrm-rmc1"),
        ("PACKAGE:", "must be a factory, or have build"),
    ],
)
def test_what_is_no_model_is_one_line_and_status_2(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["profile", model.replace("PACKAGE", package), "--output", str(tmp_path / "own.csv")])
    err = capsys.readouterr().err
    assert (stopped.value.code, err.count("\n")) == (2, 1)
    assert err.startswith("error: model: got")
    assert message in err
    assert not (tmp_path / "own.csv").exists()


def test_a_model_without_build_has_no_rows_scale(package: str) -> None:
    assert build_model(f"{package}:config", 0.1).input_spec["indices"].rows == 100  # type: ignore[union-attr]
    with pytest.raises(InputError, match="rows_scale"):
        build_model(f"{package}:Tiny", 0.1)


def test_entry_points_are_models_too(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deeprec_own_models-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: deeprec_own_models\nVersion: 1\n", encoding="utf-8")
    entries = f"[deeprec_env.models]\nown-dlrm = {package}:CONFIG\nwnd = {package}:CONFIG\nlost = {package}:absent\n"
    (folder / "entry_points.txt").write_text(entries, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert model_names()[-2:] == ["lost", "own-dlrm"]
    assert isinstance(build_model("own-dlrm"), Dlrm)
    assert not isinstance(build_model("wnd", 1e-4), Dlrm)  # a shipped model's name stays its own
    with pytest.raises(
        InputError,
        match=r"entry point .*:absent' of deeprec_env.models in package .* can't be imported",
    ):
        check_model("lost")
    with pytest.raises(InputError, match="own-dlrm"):
        check_model("nowhere")
