"""Sections of trainings: their validations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeprec_env.report.page import Block, Line, Plot, Section, Table
from deeprec_env.report.sources import Source
from deeprec_env.report.words import number


def sections(sources: Sequence[Source]) -> list[Section]:
    """Trainings, side by side."""
    blocks: list[Block] = []
    rows, returns = [], []
    figures: dict[str, list[Line]] = {}
    for source in sources:
        found = source.validations
        assert found is not None
        steps = [float(step) for step in found.timesteps]
        means = [float(np.mean(each)) for each in found.returns]
        returns.append(Line(source.name, steps, means))
        for name, values in found.figures.items():
            figures.setdefault(name, []).append(Line(source.name, steps, values))
        if steps:
            best = int(np.argmax(means))
            blocks.append(
                f"{source.name}: {len(steps)} validations in {number(steps[-1])} steps; the best mean return is "
                f"{number(means[best])}, after {number(steps[best])} steps."
            )
        config = source.payload["config"]
        shown = {key: config.get(key) for key in ("environment", "algo", "reward", "seed", "timesteps", "engine")}
        rows.append([source.name, *("-" if value is None else str(value) for value in shown.values())])
    blocks.append(Table(["", "environment", "algo", "reward", "seed", "timesteps", "engine"], rows))
    blocks.append(Plot("Mean return of the validation episodes", "timesteps", "return", returns))
    for name, lines in figures.items():
        label = name.replace("_", " ")
        blocks.append(Plot(f"{label} at every validation", "timesteps", label, lines))
    return [Section("Training", blocks)]
