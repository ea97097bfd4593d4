"""Timelines in files, in the format that the name says."""

from __future__ import annotations

import gzip
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import check_writable, replacing_path
from deeprec_env.timeline.json_trace import write_json
from deeprec_env.timeline.perfetto_trace import write_perfetto
from deeprec_env.timeline.timeline import Timeline

KINDS = (".pftrace", ".pftrace.gz", ".json", ".json.gz")


def check_timeline_path(path: Path) -> None:
    """Raise `InputError` if a timeline can't be written there; called before the simulation starts."""
    if not path.name.endswith(KINDS):
        raise InputError("timeline", str(path), f"must be a file named *{', *'.join(KINDS)}")
    if ".pftrace" in path.suffixes:
        check_installed("perfetto")
    check_writable("timeline", path)


def write_timeline(timeline: Timeline, path: Path) -> None:
    """Write a timeline that Perfetto opens: in its own format (*.pftrace), or as JSON; either may be compressed."""
    check_timeline_path(path)
    write = write_perfetto if ".pftrace" in path.suffixes else write_json
    with replacing_path(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                write(timeline, packed)  # type: ignore[arg-type]
        else:
            write(timeline, file)
