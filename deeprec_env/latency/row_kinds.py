"""Kinds of rows of numbers that are latency models, and what their numbers mean."""

CONSTANT, EXPONENTIAL, AFFINE, PROFILE, RPACCEL, LEVELLED = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0
"""Kinds, and what follows them in a row. CONSTANT: seconds. EXPONENTIAL: mean in seconds. AFFINE: base and per-item
milliseconds, sigma. PROFILE: number of batches, the batches, and the quantiles in seconds at `table.LEVELS`, batch by
batch. RPACCEL: fixed and per-item cycles, and how many items the sort takes in a cycle. LEVELLED, a profile of other
levels or with a tail: number of batches, the batches, 1 with the exponential tail or 0, number of levels, the levels,
and the quantiles as before."""

CLOCK_S = 8e-9
"""Length of a cycle of RPAccel."""
