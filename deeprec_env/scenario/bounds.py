"""Bounds of the numbers in scenarios, and the types that keep them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST_ITEMS = 10**9
"""Bound of batch sizes and thresholds: what is above is a slip."""

MOST_SERVERS = 10**6
"""Bound of servers and cores: engines hold an entry for each."""

HIGHEST = 1e15
"""Bound of quantities (milliseconds, seconds, watts): products of what is above overflow."""

MOST_CV = 100.0
"""Bound of coefficients of variation: of what is above no run is long enough to see the mean."""

MOST_SUB_BATCHES = 64

SHORTEST_PHASE_S = 1e-4
"""Bound of the mean phases of slowness: shorter ones are the noise of each request, and every one takes its time."""

Positive = Annotated[float, Field(gt=0, le=HIGHEST)]
NonNegative = Annotated[float, Field(ge=0, le=HIGHEST)]
Count = Annotated[int, Field(ge=1, le=MOST_ITEMS)]
Servers = Annotated[int, Field(ge=1, le=MOST_SERVERS)]
Threshold = Count | None
"""Offload threshold in items; None: never offload."""

LOWEST_QPS, HIGHEST_QPS = 1e-9, 1e12
