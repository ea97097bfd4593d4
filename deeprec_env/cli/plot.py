"""`--plot`: the figures of a result as a picture, by the name of its scenario."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprec_env.simulation.records import Records


def check_plot(path: Path | None) -> None:
    """Raise `InputError` if no picture can be written there; called before long work starts."""
    if path is not None:
        from deeprec_env.report.picture import check_plot

        check_plot(path)


def draw(path: Path, payload: Mapping[str, Any], scenario: str, records: Records | None = None) -> None:
    """Draw a result of a scenario, given by its name or path."""
    from deeprec_env.report.picture import plot_result

    plot_result(path, payload, Path(scenario).stem, records)
