from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deeprec_env.cores import usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the platform binds no process to cores")
def test_a_process_bound_to_one_core_uses_one() -> None:
    program = (
        "import os\n"
        "from deeprec_env.cores import usable_cores\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "1\n"


def test_where_the_platform_does_not_tell_they_are_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_cores() == (os.cpu_count() or 1)
