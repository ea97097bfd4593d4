"""How long a request takes: measured profiles and parametric models."""

from deeprec_env.latency.parametric import Affine, Constant, Exponential
from deeprec_env.latency.profile import Profile, load_profile, shipped_profiles
from deeprec_env.latency.rpaccel import RPAccel, rpaccel_latency_s

__all__ = [
    "Affine",
    "Constant",
    "Exponential",
    "Profile",
    "RPAccel",
    "load_profile",
    "rpaccel_latency_s",
    "shipped_profiles",
]
