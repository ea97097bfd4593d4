"""The shipped pipeline scenarios, written from their configurations.

python -m deeprec_env.recpipe.design_space.presets FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from deeprec_env.files import replacing
from deeprec_env.recpipe.design_space.config import load_pipeline

_NARROWER = [(4096, 128), (3200, 128), (2048, 128), (1600, 128), (1024, 128)]
"""Items of the first and second stage along the front of quality and load, after 4096-512."""

_ALTERNATIVES = [{"models": ["dim_4", "dim_32"], "items": list(items)} for items in _NARROWER]

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "recpipe-cpu": {
        "sla_ms": 100,
        "qps": 200,
        "stages": [
            {"model": "dim_4", "items": 4096, "device": "cpu"},
            {"model": "dim_32", "items": 512, "device": "cpu"},
        ],
        "alternatives": [*_ALTERNATIVES, {"models": ["dim_4", "dim_32"], "items": [0, 4096]}],
    },
    "recpipe-gpu": {
        "sla_ms": 50,
        "qps": 40,
        "stages": [
            {"model": "dim_4", "items": 4096, "device": "gpu"},
            {"model": "dim_32", "items": 512, "device": "cpu"},
        ],
        "alternatives": _ALTERNATIVES,
    },
    "recpipe-accelerator": {
        "sla_ms": 10,
        "qps": 800,
        "stages": [
            {"model": "dim_4", "items": 4096, "device": "accelerator", "unit": 16, "engines": 8},
            {"model": "dim_32", "items": 512, "device": "accelerator", "unit": 4, "engines": 2},
        ],
        "alternatives": _ALTERNATIVES,
    },
}
"""Two stages for queries of 4096 candidates: on 16 cores each; the first on a GPU, the second on 32 cores; each on half
of RPAccel, the first in 8 units and the second in 2."""


def preset(name: str) -> str:
    """The YAML text of a shipped pipeline."""
    title = f"# {name} after RecPipe (MICRO 2021), published service times; written by python -m {__spec__.name}\n"
    return title + yaml.safe_dump(
        {"schema_version": 1} | load_pipeline(CONFIGURATIONS[name]).mapping(), sort_keys=False
    )


if __name__ == "__main__":
    for each in CONFIGURATIONS:
        with replacing(Path(sys.argv[1]) / f"{each}.yaml") as file:
            file.write(preset(each))
