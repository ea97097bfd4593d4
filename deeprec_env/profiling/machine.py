"""What machine a profile was measured on."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from deeprec_env.cores import usable_cores


def cpu_model() -> str:
    """The processor's name with family and model number, as the operating system gives it."""
    wanted = {"model name": "", "cpu family": "", "model": ""}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in wanted and not wanted[key.strip()]:
                wanted[key.strip()] = value.strip()
    except OSError:
        return platform.processor() or platform.machine()
    return f"{wanted['model name']} (family {wanted['cpu family']}, model {wanted['model']})"


def describe_machine(device: str) -> dict[str, str]:
    """Header lines of a measurement: processor, cores it may use, accelerator, torch version."""
    described = {"cpu": cpu_model(), "cores": str(usable_cores())}
    if device == "cuda":
        described["accelerator"] = torch.cuda.get_device_name()
    return described | {"torch": torch.__version__}
