"""Operator shares: what runs counts for the group that it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.models import RecommendationModel, build_model
from deeprec_env.models.inputs import DenseInput, Uniform
from deeprec_env.profiling.operators import GROUPS, OperatorSettings, operator_shares, profile_batch, read_shares


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class OneSort(RecommendationModel):
    """A model that does one sort of work."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.input_spec = {"x": DenseInput(32)}

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class Rnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)  # type: ignore[no-any-return]


class Weighing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)  # type: ignore[no-any-return]


class Concat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], dim=1)


@pytest.mark.parametrize(
    ("layer", "group"),
    [
        (nn.Linear(32, 8), "FC"),
        (nn.Sequential(nn.Linear(32, 8), nn.Linear(8, 1)), "FC"),
        (Rnn(), "recurrent"),
        (Weighing(), "attention"),
        (Concat(), "concat"),
        (nn.Sequential(nn.ReLU(), nn.Sigmoid(), nn.Softmax(dim=1)), "elementwise"),
        (nn.Flatten(), "other"),
    ],
)
def test_one_sort_of_work_is_one_group(layer: nn.Module, group: str) -> None:
    times = profile_batch(OneSort(layer).eval(), 4, Uniform(), np.random.default_rng(0), repeats=2)
    assert {name for name, value in times.items() if value > 0.0} == {group}


@pytest.mark.parametrize(
    ("name", "present", "absent"),
    [
        ("dlrm-rmc1", {"FC", "embedding", "concat", "elementwise"}, {"recurrent", "attention"}),
        ("din", {"FC", "embedding", "attention", "concat", "elementwise"}, {"recurrent"}),
        ("dien", {"FC", "embedding", "recurrent", "attention", "concat"}, set()),
    ],
)
def test_the_models_groups_are_those_of_their_parts(name: str, present: set[str], absent: set[str]) -> None:
    model = build_model(name, 1e-4)
    times = profile_batch(model, 2, Uniform(), np.random.default_rng(0), repeats=2)
    assert all(times[group] > 0.0 for group in present)
    assert all(times[group] == 0.0 for group in absent)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_shares_go_on_where_they_were_and_sum_to_one(tmp_path: Path) -> None:
    path, done = tmp_path / "operators.csv", []
    settings = OperatorSettings(("ncf", "wnd"), (1, 4), rows_scale=1e-3)
    operator_shares(OperatorSettings(("ncf",), (1, 4), rows_scale=1e-3), path, done.append)
    first = read_shares(path)[1]
    shares = operator_shares(settings, path, done.append)
    assert done == ["ncf", "ncf", "wnd", "wnd"]
    assert shares[: len(first)] == first
    assert len(shares) == 2 * 2 * len(GROUPS)
    for model, batch in [(model, batch) for model in ("ncf", "wnd") for batch in (1, 4)]:
        of_batch = [share for share in shares if (share.model, share.batch) == (model, batch)]
        assert sum(share.share for share in of_batch) == pytest.approx(1.0, abs=1e-4)
        assert all(share.self_ms >= 0.0 for share in of_batch)
    with pytest.raises(InputError, match="holds shares with batches '1,4', not '1'"):
        operator_shares(OperatorSettings(("ncf",), (1,), rows_scale=1e-3), path, done.append)


def test_the_command_writes_table_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["profile", "ncf", "--operators", "--batches", "1,2", "--rows-scale", "0.01", "--output", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (stopped.value.code, found["schema_version"]) == (0, 1)
    assert set(found["shares"]["ncf"]) == {"1", "2"}
    assert set(found["shares"]["ncf"]["1"]) == set(GROUPS)
    assert Path(found["picture"]).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--threads", "2"])
    assert stopped.value.code == 2
    assert "threads: got '2'; has no meaning with --operators" in capsys.readouterr().err
