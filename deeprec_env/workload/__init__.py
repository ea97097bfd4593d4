"""Arrival processes, size distributions and the stream of queries drawn from them."""

from deeprec_env.workload.arrivals import Gamma, Poisson, PoissonMs
from deeprec_env.workload.between import Between
from deeprec_env.workload.diurnal import Diurnal, Flash
from deeprec_env.workload.drifting import Drifting
from deeprec_env.workload.mmpp import MMPP
from deeprec_env.workload.recorded_sizes import MLPerf, SizesFile
from deeprec_env.workload.sizes import Fixed, Lognormal, Normal, Production
from deeprec_env.workload.stream import SPLITS, QueryStream, Traffic, episode_seed
from deeprec_env.workload.trace import Trace

__all__ = [
    "MMPP",
    "SPLITS",
    "Between",
    "Diurnal",
    "Drifting",
    "Fixed",
    "Flash",
    "Gamma",
    "Lognormal",
    "MLPerf",
    "Normal",
    "Poisson",
    "PoissonMs",
    "Production",
    "QueryStream",
    "SizesFile",
    "Trace",
    "Traffic",
    "episode_seed",
]
