"""The figures by their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import make_folder
from deeprec_env.recpipe.design_space.cells import check_seed
from deeprec_env.recpipe.figures.accelerator import figure_12, figure_13, figure_14
from deeprec_env.recpipe.figures.chip import figure_10a, figure_10c, figure_11
from deeprec_env.recpipe.figures.commodity import figure_7, figure_8
from deeprec_env.recpipe.figures.lines import FigureFiles, Row
from deeprec_env.recpipe.figures.models import figure_2, figure_3

FIGURES: dict[str, Callable[[FigureFiles, int], list[Row]]] = {
    "2": figure_2,
    "3": figure_3,
    "7": figure_7,
    "8": figure_8,
    "10a": figure_10a,
    "10c": figure_10c,
    "11": figure_11,
    "12": figure_12,
    "13": figure_13,
    "14": figure_14,
}


def write_figure(number: str, folder: Path, seed: int = 0, kinds: Sequence[str] = ("png",)) -> list[Row]:
    """Write figureNUMBER.csv and a picture of every kind to a folder, and return the table.

    `InputError` for a figure that is not there.
    """
    if number not in FIGURES:
        raise InputError("figure", number, f"must be one of {', '.join(FIGURES)}")
    check_seed(seed)
    check_installed("matplotlib")
    make_folder("output", folder)
    return FIGURES[number](FigureFiles.of(folder, number, kinds), seed)
