from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deeprec_env import InputError
from deeprec_env.models import MODELS, build_model, draw_inputs
from deeprec_env.models.dien import AttentionGru
from deeprec_env.models.inputs import zipf_indices
from deeprec_env.models.layers import EmbeddingTables, Tables

ROWS_SCALE = 1e-4

# Table sizes in GB (fp32) and parameters of the dense layers, counted by hand from the published configurations.
TABLES_GB = {
    "dlrm-rmc1": 8 * 4e6 * 32 * 4e-9,
    "dlrm-rmc2": 32 * 0.5e6 * 64 * 4e-9,
    "dlrm-rmc3": 10 * 2e6 * 32 * 4e-9,
    "ncf": (2 * 140e3 + 2 * 28e3) * 64 * 4e-9,
    "wnd": 27 * 1e6 * 32 * 4e-9,
    "mt-wnd": (41 * 0.5e6 + 2 * 5e6) * 32 * 4e-9,
    "din": (1e6 + 250 * 0.1e6 + 10e6 + 10e6) * 32 * 4e-9,
    "dien": (0.5e6 + 2 * 5e6) * 32 * 4e-9,
}


def layers(*widths: int) -> int:
    return sum(before * after + after for before, after in itertools.pairwise(widths))


DENSE_PARAMETERS = {
    "dlrm-rmc1": layers(128, 64, 32) + layers(288, 256, 64, 1),
    "dlrm-rmc2": layers(256, 128, 64) + layers(2112, 128, 64, 1),
    "dlrm-rmc3": layers(2560, 1024, 256, 32) + layers(352, 512, 256, 1),
    "ncf": layers(128, 256, 256, 128, 64) + layers(128, 1),
    "wnd": layers(1376, 1024, 512, 256, 1),
    "mt-wnd": layers(1888, 1024, 512) + 8 * layers(512, 512, 256, 128, 1),
    "din": layers(96, 36, 1) + 36 + layers(128, 200, 80, 2),
    "dien": (3 * 64 * (32 + 64) + 6 * 64) + 2 * layers(64, 192) + 32 * 64 + layers(128, 200, 80, 2),
}

OUTPUTS = {"mt-wnd": 8, "din": 2, "dien": 2}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("distribution", ["uniform", "zipf"])
def test_models_score_items_one_by_one(name: str, distribution: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, ROWS_SCALE)
    inputs = draw_inputs(model.input_spec, 5, np.random.default_rng(0), distribution)  # type: ignore[arg-type]
    with torch.inference_mode():
        together = model(**inputs)
        alone = torch.cat([model(**{key: tensor[i : i + 1] for key, tensor in inputs.items()}) for i in range(5)])
    assert together.shape == (5, OUTPUTS.get(name, 1))
    assert ((together > 0) & (together < 1)).all()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_sizes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        model = MODELS[name].build()
    tables = dense = 0
    for parameter_name, parameter in model.named_parameters():
        if parameter.dim() == 2 and parameter.shape[0] >= 28_000:
            tables += parameter.numel()
        else:
            dense += parameter.numel()
        assert parameter.dtype == torch.float32, parameter_name
    assert tables * 4e-9 == pytest.approx(TABLES_GB[name])
    assert dense == DENSE_PARAMETERS[name]


def test_fused_tables_are_separate_tables() -> None:
    tables = Tables(count=3, rows=11, dim=4, lookups=5)
    fused = EmbeddingTables(tables)
    indices = torch.randint(0, 11, (7, 3, 5))
    separate = fused.weight.view(3, 11, 4)
    expected = torch.stack([separate[table][indices[:, table]].sum(dim=1) for table in range(3)], dim=1)
    torch.testing.assert_close(fused(indices), expected)


def test_din_weighs_every_behaviour_against_the_candidate() -> None:
    torch.manual_seed(1)
    model = build_model("din", ROWS_SCALE)
    inputs = draw_inputs(model.input_spec, 2, np.random.default_rng(1))
    with torch.inference_mode():
        batched = model(**inputs)
        rows = []
        for item in range(2):
            one = {key: tensor[item : item + 1] for key, tensor in inputs.items()}
            looked_up = {key: model.groups[key](tensor)[0] for key, tensor in one.items()}  # type: ignore[index,operator]
            candidate, interest = looked_up["candidate"][0], torch.zeros(32)
            for behaviour in looked_up["behaviours"]:
                pair = torch.cat([behaviour, behaviour * candidate, candidate]).unsqueeze(0)
                interest += model.attention(pair)[0, 0] * behaviour  # type: ignore[operator]
            features = torch.cat([looked_up["profile"][0], interest, candidate, looked_up["context"][0]])
            rows.append(torch.softmax(model.top(features), dim=0))  # type: ignore[operator]
    torch.testing.assert_close(batched, torch.stack(rows), rtol=1e-4, atol=1e-6)


def test_the_attention_gru_is_a_gru_where_attention_is_full_and_stands_still_where_it_is_none() -> None:
    torch.manual_seed(2)
    evolve, gru = AttentionGru(6, 5), torch.nn.GRU(6, 5, batch_first=True)
    # torch's gates come as reset, update, new, and its update gate keeps the old state: the sign of its gate is turned.
    signs = torch.tensor([1.0, -1.0, 1.0]).repeat_interleave(5)
    with torch.no_grad():
        evolve.from_input.weight.copy_(gru.weight_ih_l0 * signs.unsqueeze(1))
        evolve.from_input.bias.copy_(gru.bias_ih_l0 * signs)
        evolve.from_state.weight.copy_(gru.weight_hh_l0 * signs.unsqueeze(1))
        evolve.from_state.bias.copy_(gru.bias_hh_l0 * signs)
    inputs = torch.randn(3, 7, 6)
    with torch.inference_mode():
        torch.testing.assert_close(evolve(inputs, torch.ones(3, 7)), gru(inputs)[1][0])
        assert (evolve(inputs, torch.zeros(3, 7)) == 0).all()


def test_ncf_multiplies_in_its_factorised_half() -> None:
    model = build_model("ncf", 0.01)
    inputs = draw_inputs(model.input_spec, 4, np.random.default_rng(3))
    with torch.no_grad():
        model.output.weight[:, 64:] = 0.0  # type: ignore[index,union-attr]
        users = model.users.weight.view(2, -1, 64)[0][inputs["user"][:, 0]]  # type: ignore[operator,union-attr]
        items = model.items.weight.view(2, -1, 64)[0][inputs["item"][:, 0]]  # type: ignore[operator,union-attr]
        expected = torch.sigmoid(F.linear(users * items, model.output.weight[:, :64], model.output.bias))  # type: ignore[index,union-attr]
        torch.testing.assert_close(model(**inputs), expected)


def test_zipf_indices_are_skewed_and_stay_in_the_table() -> None:
    drawn = zipf_indices(np.random.default_rng(0), 1000, (200_000,))
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    counts = np.sort(np.bincount(drawn, minlength=1000))[::-1]
    weights = np.arange(1, 1001) ** -1.05
    assert counts[:10].sum() / 200_000 == pytest.approx(weights[:10].sum() / weights.sum(), rel=0.25)
    uniform = np.bincount(np.random.default_rng(0).integers(0, 1000, 200_000)).max()
    assert counts[0] > 50 * uniform / 2


@pytest.mark.parametrize(("name", "scale"), [("rmc1", 1.0), ("ncf", 0.0), ("ncf", 2.0)])
def test_bad_models_and_scales_are_refused(name: str, scale: float) -> None:
    with pytest.raises(InputError):
        build_model(name, scale)
