"""Routers, each one class in one file."""

from deeprec_env.fleet.routers.by_size import BySize
from deeprec_env.fleet.routers.least_requests import LeastRequests
from deeprec_env.fleet.routers.least_work import LeastWork
from deeprec_env.fleet.routers.power_of_d import PowerOfD
from deeprec_env.fleet.routers.probing import Probing
from deeprec_env.fleet.routers.random import Random
from deeprec_env.fleet.routers.round_robin import RoundRobin
from deeprec_env.fleet.routers.weighted import Weighted

__all__ = ["BySize", "LeastRequests", "LeastWork", "PowerOfD", "Probing", "Random", "RoundRobin", "Weighted"]
