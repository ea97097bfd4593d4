"""Bounds of the numbers in scenarios, and the types that keep them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST_ITEMS = 10**9
"""Bound of batch sizes, thresholds and server counts: what is above is a slip."""

MOST_SUB_BATCHES = 64

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=MOST_ITEMS)]
Threshold = Count | None
"""Offload threshold in items; None: never offload."""

LOWEST_QPS, HIGHEST_QPS = 1e-9, 1e12
