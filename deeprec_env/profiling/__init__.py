"""Measuring models into profiles."""

from deeprec_env.profiling.profile import BATCHES, ProfileSettings, agreement, profile_models

__all__ = ["BATCHES", "ProfileSettings", "agreement", "profile_models"]
