"""Measuring models into profiles."""

from deeprec_env.profiling.profile import BATCHES, ProfileSettings, profile_models

__all__ = ["BATCHES", "ProfileSettings", "profile_models"]
