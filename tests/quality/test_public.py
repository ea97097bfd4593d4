from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeprec_env import InputError
from deeprec_env.quality.checkpoints import load
from deeprec_env.quality.data import Clicks
from deeprec_env.quality.models import DLRM_SIZES, RankingDlrm
from deeprec_env.quality.public import load_public
from deeprec_env.quality.sources import KINDS, Source
from deeprec_env.quality.training import TrainSettings, score, train, with_epochs
from tests.quality.files import criteo_lines, write

ROWS = tuple(range(3, 29))


def public(dim: int = 16, rows: tuple[int, ...] = ROWS, first: int = 26 * 27 // 2 + 16) -> dict[str, Any]:
    """A state_dict as the public code writes it: `rows` - 1 and more categories in each table."""
    torch.manual_seed(1)
    shapes = {"bot_l.0": (64, 13), "bot_l.2": (dim, 64), "top_l.0": (64, first), "top_l.2": (1, 64)}
    state = {f"emb_l.{table}.weight": torch.randn(count + 5, dim) for table, count in enumerate(rows)}
    for name, shape in shapes.items():
        state |= {f"{name}.weight": torch.randn(shape) / 8, f"{name}.bias": torch.randn(shape[0]) / 8}
    return state


def saved(path: Path, state: dict[str, Any]) -> Path:
    # The public code keeps accuracies as NumPy's numbers beside the weights.
    torch.save({"epoch": 0, "test_acc": np.float64(0.78), "train_loss": np.float32(0.4), "state_dict": state}, path)
    return path


@pytest.mark.parametrize(("first", "interaction"), [(26 * 27 // 2 + 16, "dot"), (27 * 16, "cat")])
def test_scores_are_those_of_the_public_model(first: int, interaction: str, tmp_path: Path) -> None:
    state = public(first=first)
    loaded, told = load_public(saved(tmp_path / "dlrm.pt", state), DLRM_SIZES["dim_16"], ROWS, 13)
    assert told == interaction
    size = DLRM_SIZES["dim_16"]
    model = RankingDlrm(type(size)(size.dim, size.bottom, size.top, told), ROWS, 13)
    model.load_state_dict(loaded)
    rng = np.random.default_rng(0)
    dense = rng.random((5, 13), dtype=np.float32)
    categories = np.stack([rng.integers(1, rows, 5) for rows in ROWS], axis=1).astype(np.int32)
    got = score(model.eval(), Clicks(np.zeros(5, np.float32), dense, categories))

    def linear(layer: str, x: Any) -> Any:
        return x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]

    for row in range(5):  # written out as in the paper, one candidate at a time
        x = linear("bot_l.2", linear("bot_l.0", torch.from_numpy(dense[row])).relu()).relu()
        vectors = [x, *(state[f"emb_l.{t}.weight"][categories[row, t] - 1] for t in range(26))]
        products = [vectors[i] @ vectors[j] for i in range(27) for j in range(i)]
        joined = torch.cat(vectors) if interaction == "cat" else torch.cat([x, torch.stack(products)])
        expected = linear("top_l.2", linear("top_l.0", joined).relu())
        assert got[row] == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


def test_a_public_checkpoint_is_evaluated_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", criteo_lines(1400))
    source = Source("criteo-kaggle", str(path))
    rows = source.load(lambda what, steps: None)[0].rows
    file = saved(tmp_path / "dlrm.pt", public(rows=rows))
    recipe = with_epochs(KINDS["criteo-kaggle"].recipe, 0)
    settings = TrainSettings(source, ("dim_16",), recipe, weights=str(file))
    result = train(settings, tmp_path / "models", lambda what, steps: None)
    assert 0 <= result["models"]["dim_16"]["auc"] <= 1
    tables = load(tmp_path / "models/dim_16.pt").state["tables"]
    assert torch.equal(tables[1 : rows[0]], public(rows=rows)["emb_l.0.weight"][: rows[0] - 1])
    assert (tables[0] == 0).all()


def test_bad_weights_leave_no_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", criteo_lines(1400))
    (tmp_path / "dlrm.pt").write_bytes(b"none")
    recipe = with_epochs(KINDS["criteo-kaggle"].recipe, 0)
    settings = TrainSettings(Source("criteo-kaggle", str(path)), ("dim_16",), recipe, weights=str(tmp_path / "dlrm.pt"))
    with pytest.raises(InputError, match="weights"):
        train(settings, tmp_path / "models", lambda what, steps: None)
    assert not (tmp_path / "models").exists()


def lacking(state: dict[str, Any]) -> None:
    del state["bot_l.2.bias"]


def with_more(state: dict[str, Any]) -> None:
    state["emb_l.26.weight"] = torch.zeros(3, 16)


def of_another_size(state: dict[str, Any]) -> None:
    state["bot_l.0.weight"] = torch.zeros(512, 13)


def with_short_tables(state: dict[str, Any]) -> None:
    state["emb_l.25.weight"] = torch.zeros(3, 16)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lacking, r"lacks bot_l\.2\.bias"),
        (with_more, r"has emb_l\.26\.weight"),
        (of_another_size, r"bot_l\.0\.weight \(512, 13\)'; must be \(64, 13\)"),
        (with_short_tables, r"emb_l\.25\.weight \(3, 16\)'; must have dimension 16 and at least 27 rows"),
    ],
)
def test_what_does_not_fit_is_named(change: Any, named: str, tmp_path: Path) -> None:
    state = public()
    change(state)
    with pytest.raises(InputError, match=named):
        load_public(saved(tmp_path / "dlrm.pt", state), DLRM_SIZES["dim_16"], ROWS, 13)


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('run')",))


def test_a_checkpoint_can_run_nothing(tmp_path: Path) -> None:
    path = tmp_path / "harm.pt"
    torch.save({"state_dict": Harm()}, path)
    with pytest.raises(InputError, match="must be a checkpoint of the public DLRM code") as raised:
        load_public(path, DLRM_SIZES["dim_16"], ROWS, 13)
    assert "\n" not in str(raised.value)
    for other in (tmp_path / "none.pt", write(tmp_path / "text.pt", ["x"])):
        with pytest.raises(InputError):
            load_public(other, DLRM_SIZES["dim_16"], ROWS, 13)
