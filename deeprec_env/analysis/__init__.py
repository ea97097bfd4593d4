"""Questions asked of many runs: capacity, and the day built from it."""

from deeprec_env.analysis.capacity import CapacityEstimate, find_capacity

__all__ = ["CapacityEstimate", "find_capacity"]
