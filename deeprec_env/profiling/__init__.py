"""Measuring models into profiles. What measures needs torch, and is loaded when it is asked for."""

from typing import Any

__all__ = ["BATCHES", "Effort", "ProfileSettings", "profile_models"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deeprec_env.profiling import measure, profile

    return getattr(measure if name == "Effort" else profile, name)
