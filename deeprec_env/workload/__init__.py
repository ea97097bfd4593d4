"""Arrival processes, size distributions and the stream of queries drawn from them."""

from deeprec_env.workload.arrivals import Gamma, Poisson
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.sizes import Fixed, Lognormal, Normal, Production
from deeprec_env.workload.stream import SPLITS, QueryStream, Traffic, episode_seed

__all__ = [
    "SPLITS",
    "Diurnal",
    "Fixed",
    "Gamma",
    "Lognormal",
    "Normal",
    "Poisson",
    "Production",
    "QueryStream",
    "Traffic",
    "episode_seed",
]
