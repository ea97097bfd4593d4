"""DIEN: the deep interest evolution network, a GRU over behaviours and a GRU gated by attention to the candidate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.inputs import IndexInput
from deeprec_env.models.layers import EmbeddingTables, SequenceTable, Tables, mlp


@dataclass(frozen=True)
class DienConfig:
    """Sizes of a DIEN; `hidden` is the state width of both recurrent layers."""

    steps: int
    behaviour_rows: int
    features: Tables
    hidden: int
    top: tuple[int, ...]

    def build(self, rows_scale: float = 1.0) -> Dien:
        """The model with tables of `rows_scale` times the rows."""
        return Dien(self, rows_scale)


# Sizes: DeepRecSys repository configurations (ISCA 2020); GRU and attention as in the DIEN paper (the repository runs
# a tanh RNN without attention). The two large tables hold the candidate and the user.
DIEN = DienConfig(steps=40, behaviour_rows=500_000, features=Tables(2, 5_000_000, 32), hidden=64, top=(200, 80, 2))


class AttentionGru(nn.Module):
    """GRU whose update gate is scaled by an attention weight a step (AUGRU, equations 14 and 15 of the DIEN paper).

    Input (items, steps, inputs) and weights (items, steps); output: the last state (items, hidden).
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_input = nn.Linear(inputs, 3 * hidden)
        self.from_state = nn.Linear(hidden, 3 * hidden)

    def forward(self, inputs: Tensor, weights: Tensor) -> Tensor:
        projected = self.from_input(inputs)  # all steps at once: only the state's part is sequential
        state = inputs.new_zeros(inputs.shape[0], self.hidden)
        for step in range(inputs.shape[1]):
            reset_in, update_in, new_in = projected[:, step].chunk(3, dim=1)
            reset_state, update_state, new_state = self.from_state(state).chunk(3, dim=1)
            reset = torch.sigmoid(reset_in + reset_state)
            update = torch.sigmoid(update_in + update_state) * weights[:, step : step + 1]
            new = torch.tanh(new_in + reset * new_state)
            state = state + update * (new - state)
        return state


class Dien(RecommendationModel):
    """Deep interest evolution network (Zhou et al., AAAI 2019); output (items, 2).

    The auxiliary loss of the paper belongs to training and has no part here.
    """

    def __init__(self, config: DienConfig, rows_scale: float = 1.0) -> None:
        super().__init__()
        features = config.features.scaled(rows_scale)
        behaviour_rows = max(1, round(config.behaviour_rows * rows_scale))
        self.behaviours = SequenceTable(behaviour_rows, features.dim)
        self.features = EmbeddingTables(features)
        self.extract = nn.GRU(features.dim, config.hidden, batch_first=True)
        self.attend = nn.Linear(features.dim, config.hidden, bias=False)
        self.evolve = AttentionGru(config.hidden, config.hidden)
        self.top = mlp(config.hidden + features.count * features.dim, config.top, last_activation=False)
        self.input_spec = {
            "behaviours": IndexInput((config.steps,), behaviour_rows),
            "features": IndexInput((features.count, features.lookups), features.rows),
        }

    def forward(self, behaviours: Tensor, features: Tensor) -> Tensor:
        looked_up = self.features(features)  # (items, 2, dim): the candidate, then the user
        interests, _ = self.extract(self.behaviours(behaviours))
        scores = torch.bmm(interests, self.attend(looked_up[:, 0]).unsqueeze(2)).squeeze(2)
        evolved = self.evolve(interests, torch.softmax(scores, dim=1))
        return torch.softmax(self.top(torch.cat([evolved, looked_up.flatten(1)], dim=1)), dim=1)
