"""How long a request takes: measured profiles and parametric models."""

from deeprec_env.latency.parametric import Affine, Constant, Exponential
from deeprec_env.latency.profile import Profile, load_profile, shipped_profiles

__all__ = ["Affine", "Constant", "Exponential", "Profile", "load_profile", "shipped_profiles"]
