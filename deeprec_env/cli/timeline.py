"""The options of `deeprec simulate` about a timeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.simulation.simulate import MOST_KEPT, Result


def timeline_shown(timeline: Path | None, window: str | None, slowest: int | None, queries: int) -> dict[str, Any]:
    """What of a run its timeline shows, as `timeline_of` takes it; `InputError` before anything runs."""
    if timeline is None:
        for option, value in (("timeline_window", window), ("timeline_slowest", slowest)):
            if value is not None:
                raise InputError(option, value, "needs timeline, the file to write")
        return {}
    from deeprec_env.timeline.files import check_timeline_path
    from deeprec_env.timeline.timeline import check_shown, read_window

    check_timeline_path(timeline)
    whole("queries", queries, 1, MOST_KEPT, f"must be at most {MOST_KEPT} for a timeline: longer runs keep no records")
    return check_shown(None if window is None else read_window(window), slowest)


def write_shown(result: Result, timeline: Path, shown: dict[str, Any]) -> None:
    """Write that part of a run's timeline."""
    from deeprec_env.timeline.files import write_timeline
    from deeprec_env.timeline.timeline import timeline_of

    write_timeline(timeline_of(result, **shown), timeline)
