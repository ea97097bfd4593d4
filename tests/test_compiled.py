"""The cache of compiled code, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HASH = """
import numpy as np
from deeprec_env.workload.noise import uniforms
print(uniforms(np.ones(1, np.uint64), np.ones(1, np.int64)))
"""
SAYS = "deeprec-env: compiling what this run needs"


def run(cache: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    return subprocess.run([sys.executable, "-c", HASH], env=environment, capture_output=True, text=True, check=True)


def test_compiling_is_said_once_and_kept_for_the_next_process(tmp_path: Path) -> None:
    first, second = run(str(tmp_path)), run(str(tmp_path))
    assert first.stderr.count(SAYS) == 1
    assert second.stderr == ""
    assert first.stdout == second.stdout != ""
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("compiled-")


def test_a_folder_that_cannot_be_written_costs_a_warning_and_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    result = run(str(file / "below"))
    assert result.stderr.count("no folder for compiled code can be written") == 1
    assert "in every process" in result.stderr
    assert result.stdout == run(str(tmp_path)).stdout
