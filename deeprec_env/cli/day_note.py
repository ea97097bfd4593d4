"""What is said of the days that policies meet where a scenario brings none of its own."""

from __future__ import annotations

import typer

from deeprec_env.scenario.schema import Scenario
from deeprec_env.workload.diurnal import Diurnal


def day_note(name: str, given: Scenario, prepared: Scenario) -> str | None:
    """A line for what was made of a scenario's arrivals, called `name`; None where its own are used."""
    own, day = given.workload.arrivals, prepared.workload.arrivals
    if isinstance(own, Diurnal) or not isinstance(day, Diurnal) or prepared.capacity is None:
        return None
    capacity = f"{prepared.capacity.qps:.4g} queries/s"
    built = (
        f"gives no capacity: days are built from that of its best fixed setting for them, {capacity}"
        if given.capacity is None
        else f"has no day: days are built from its capacity, {capacity}"
    )
    return f"{name} {built}; its own arrivals ({own.kind}, {own.mean_qps:.4g} queries/s) are not used"


def tell_day(name: str, given: Scenario, prepared: Scenario, *, quiet: bool) -> None:
    """Print that line on stderr, if there is one."""
    note = None if quiet else day_note(name, given, prepared)
    if note is not None:
        typer.echo(note, err=True)
