"""Questions asked of many runs: capacity, and the day built from it."""

from deeprec_env.analysis.capacity import Capacity, find_capacity

__all__ = ["Capacity", "find_capacity"]
