"""What RecPipe's artifact logged (harvard-acc/RecPipe), as far as the figures show it.

Lines are best points by mean gap between queries, at the rates that were achieved; "enough" quality is an NDCG@64 above
0.9225, which the paper's comparisons ask for.
"""

from __future__ import annotations

Points = tuple[tuple[float, float], ...]

ENOUGH = 0.9225

P95_MS: dict[str, Points] = {
    "CPU, 1 stage": (
        (60.1, 68.5), (73.0, 70.8), (84.7, 70.8), (106.9, 69.3), (127.9, 68.9), (153.0, 77.6), (178.1, 74.9),
        (211.5, 75.1), (271.3, 88.4), (321.4, 103.1), (367.5, 210.9), (398.3, 573.0),
    ),
    "CPU, 2 stages": (
        (60.4, 41.0), (75.1, 40.8), (87.0, 40.9), (111.4, 42.9), (134.1, 42.7), (156.7, 43.7), (184.9, 45.2),
        (230.2, 44.8), (294.7, 48.1), (345.7, 48.5), (413.3, 66.6), (477.6, 605.8),
    ),
    "GPU, 1 stage": ((61.3, 15.9), (75.6, 21.7), (85.5, 1017.2)),
    "GPU, 2 stages": (
        (61.5, 17.8), (75.6, 19.5), (88.2, 24.8), (110.8, 45.1), (132.7, 47.5), (153.9, 45.1), (189.8, 46.2),
        (236.0, 54.0), (268.5, 736.5),
    ),
    "RPAccel, 1 stage": (
        (98.0, 2.50), (194.3, 3.69), (239.4, 4.55), (273.2, 5.68), (314.7, 6.96), (385.7, 13.95), (439.6, 1658.53),
    ),
    "RPAccel, 2 stages": (
        (98.0, 2.06), (194.3, 1.91), (239.5, 2.80), (273.4, 2.85), (314.9, 2.85), (385.6, 2.88), (475.6, 3.74),
        (628.1, 3.78), (941.6, 3.95), (1249.7, 4.29), (1800.0, 6.33),
    ),
}  # fmt: skip
"""Lowest p95 in ms of the pipelines of enough quality, by achieved queries a second."""

QUALITY: dict[str, Points] = {
    "CPU, 1 stage": (
        (103.1, 0.9246), (55.8, 0.9221), (45.7, 0.9127), (42.0, 0.9077), (37.5, 0.8961), (26.8, 0.8753),
        (22.1, 0.8546), (20.2, 0.8438), (15.5, 0.8088), (14.9, 0.7993),
    ),
    "CPU, 2 stages": (
        (99.9, 0.9247), (63.1, 0.9246), (48.5, 0.9240), (45.1, 0.9090), (38.1, 0.8797), (31.7, 0.8793),
        (26.4, 0.8581), (21.6, 0.8155), (19.0, 0.7269), (15.9, 0.7264),
    ),
}  # fmt: skip
"""Fronts of p95 in ms and NDCG@64 at a mean gap of 1.5 ms (304 to 562 queries a second achieved)."""

QUALITY_AT_REST: dict[str, Points] = {
    "CPU, 2 stages": (
        (69.6, 0.9247), (44.5, 0.9247), (41.0, 0.9240), (38.8, 0.9092), (31.1, 0.8799), (24.3, 0.8796),
        (22.3, 0.8581), (17.0, 0.8157), (12.9, 0.7263),
    ),
    "GPU, 1 stage": (
        (15.9, 0.9247), (13.2, 0.9222), (12.2, 0.9128), (10.7, 0.9077), (10.2, 0.8961), (9.0, 0.8800),
        (8.0, 0.8753), (7.6, 0.8587), (7.1, 0.8546), (6.1, 0.8164), (5.8, 0.7998),
    ),
}  # fmt: skip
"""The same at a mean gap of 15 ms (60 queries a second)."""

TEST_ERROR = {"dim_4": 0.185490, "dim_16": 0.183970, "dim_32": 0.182050}
"""Share of wrong clicks of each model alone, in the logs of its runs on the first 4096 items."""

ARRAY_USE = {
    "dim_4": {16: 0.7879, 32: 0.6072, 64: 0.3962, 128: 0.1258},
    "dim_16": {16: 0.9626, 32: 0.8757, 64: 0.7247, 128: 0.2625},
    "dim_32": {16: 0.9889, 32: 0.9833, 64: 0.8599, 128: 0.7709},
}
"""SCALE-Sim's utilisation of a weight-stationary array by its side, 4096 items."""

CHIP = {"monolithic": (26.517, 3.660), "reconfigurable": (28.551, 4.656)}
"""Area in square millimetres and power in watts of figure 11."""

BEST_SHARE = {(0.125, 4): 0.5, (0.125, 12): 0.5, (0.0625, 12): 0.7}
"""Share of the embedding cache that is best for the first stage, about, by the filter's ratio and MiB."""

HEADLINE = {"qps_ratio": 6.0, "p95_ratio_333": 2.4, "p95_ratio_400": 4.8}
"""Two stages on split units against the whole chip: nominal QPS at p95 within 10 ms; p95 at 333 and 400 queries/s."""
