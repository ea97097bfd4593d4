"""Latency models that are a row of numbers: (kind, parameters of the kind ...), which compiled code evaluates.

`row_kinds` says what they hold.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints, LatencyModel


class RowModel(LatencyModel):
    """A model that a row of numbers describes."""

    @property
    @abstractmethod
    def row(self) -> Floats:
        """The kind and its parameters."""

    def base_s(self, items: Ints, u: Floats) -> Floats:
        from deeprec_env.latency.service_times import requests_s  # Numba is loaded when the first request is drawn

        if items.size:
            self.warn_beyond(int(items.max()))
        return np.asarray(requests_s(self.row, items, u))


def row_of(model: LatencyModel) -> Floats | None:
    """The model's row, or None if it has to be asked in Python: it has none, or a `base_s` of its own."""
    return model.row if isinstance(model, RowModel) and type(model).base_s is RowModel.base_s else None
