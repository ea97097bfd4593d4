"""Measuring models into profiles."""

from deeprec_env.profiling.measure import Effort
from deeprec_env.profiling.profile import BATCHES, ProfileSettings, profile_models

__all__ = ["BATCHES", "Effort", "ProfileSettings", "profile_models"]
