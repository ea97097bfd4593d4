"""`deeprec replay`: recorded live runs through the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Overrides, Seed
from deeprec_env.errors import InputError
from deeprec_env.progress import Step
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, versions


def replay(
    recordings: Annotated[list[Path], typer.Argument(help="Files of 'deeprec live --record'.")],
    scenario: Annotated[
        str | None, typer.Option(help="Predict blind from this scenario in place of the recorded one.")
    ] = None,
    gap_us: Annotated[
        float | None,
        typer.Option(help="Dispatcher's gap a request, in microseconds (default: fitted on the other recordings)."),
    ] = None,
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Run recorded arrivals through the simulator. Says how far its latencies are from the measured ones.

    With the recorded service times, each query as it was taken up (what the queueing is worth), and blind, from the
    intended arrivals and the scenario's latencies. The dispatcher's gap is fitted on the other recordings, of one alone
    on itself; beside it, the error with each request's own gap.
    """
    from deeprec_env.live.recording import read_recording
    from deeprec_env.live.replay import fitted_gap_s, replay_blind, replay_services

    if gap_us is not None and not 0.0 <= gap_us < 1e6:
        raise InputError("gap_us", gap_us, "must be at least 0 microseconds and below a second")
    if scenario is None and set_:
        raise InputError("--set", set_, "needs --scenario")
    other = None if scenario is None else load_scenario(scenario, set_ or ())
    read = [read_recording(path) for path in recordings]
    rows: list[dict[str, Any]] = []
    with console.telling("replay", quiet=json) as tell:
        for place, (path, recording) in enumerate(zip(recordings, read, strict=True)):
            tell(Step(path.name, place / len(read)))
            others = [each for each in read if each is not recording] or [recording]
            gap_s = fitted_gap_s(others) if gap_us is None else gap_us * 1e-6
            services, blind = replay_services(recording, gap_s), replay_blind(recording, other, seed=seed)
            own_gaps = replay_services(recording, None)
            rows.append(
                {
                    "recording": str(path),
                    "models": recording.header["models"],
                    "queries": len(recording.first_rows()),
                    "gap_us": gap_s * 1e6,
                    "measured_ms": _ms(services.measured_s),
                    "replayed_ms": _ms(services.predicted_s),
                    "replay_error": services.error,
                    "own_gaps_error": own_gaps.error,
                    "blind_ms": _ms(blind.predicted_s),
                    "blind_p95_range_ms": [end * 1e3 for end in blind.range_s["p95"]],
                    "blind_error": blind.error,
                }
            )
    errors = [abs(row["replay_error"][name]) for row in rows for name in ("mean", "p95")]
    payload = {
        "schema_version": SCHEMA_VERSION,
        "rows": rows,
        "replay_error_median": float(np.median(errors)),
        "replay_error_worst": float(np.max(errors)),
        "versions": versions(),
    }
    if json:
        console.print_json(payload)
        return
    columns = ["recording", "queries", "p95 ms", "replayed", "error", "mean's", "own gaps", "blind", "error", "mean's"]
    console.print_table(
        "recorded runs through the simulator",
        columns,
        [
            [
                row["recording"],
                f"{row['queries']:,}",
                f"{row['measured_ms']['p95']:.4g}",
                f"{row['replayed_ms']['p95']:.4g}",
                _percent(row["replay_error"]["p95"]),
                _percent(row["replay_error"]["mean"]),
                _percent(row["own_gaps_error"]["p95"]),
                f"{row['blind_ms']['p95']:.4g}",
                _percent(row["blind_error"]["p95"]),
                _percent(row["blind_error"]["mean"]),
            ]
            for row in rows
        ],
    )


def _ms(figures_s: dict[str, float]) -> dict[str, float]:
    return {name: value * 1e3 for name, value in figures_s.items()}


def _percent(share: float) -> str:
    return f"{100 * share:+.2f} %"
