"""`deeprec calibrate`: a profile and a scenario of the node as it is in operation, from recorded live runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Seed
from deeprec_env.errors import InputError
from deeprec_env.progress import Step, part
from deeprec_env.simulation.header import SCHEMA_VERSION, versions

if TYPE_CHECKING:
    from deeprec_env.live.replay import Comparison


def calibrate(
    recordings: Annotated[list[Path], typer.Argument(help="Files of 'deeprec live --record'.")],
    output: Annotated[Path, typer.Option(help="The profile, *.csv; the scenario is written beside it, *.yaml.")],
    check: Annotated[
        Path | None, typer.Option(help="A recording to be predicted, that is not fitted (default: the last one).")
    ] = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Fit a scenario to recorded runs. Says the error of a prediction before and after."""
    from deeprec_env.live.calibration import calibrate, calibrated_header, check_output
    from deeprec_env.live.recording import read_recording
    from deeprec_env.live.replay import replay_blind

    fitted = recordings if check is not None else recordings[:-1]
    held_out = recordings[-1] if check is None else check
    if not fitted:
        raise InputError("recordings", str(held_out), "must be at least two, or --check: one is predicted, not fitted")
    if held_out.resolve() in {path.resolve() for path in fitted}:
        raise InputError("check", str(held_out), "must be a run that is not fitted")
    check_output(output)
    read, checked = [read_recording(path) for path in fitted], read_recording(held_out)
    with console.telling("calibrate", quiet=json) as tell:
        calibration = calibrate(read, progress=part(tell, 0.0, 0.7))
        header = calibrated_header(calibration, [path.name for path in fitted])
        scenario = calibration.write(output, header, read[0].scenario)
        tell(Step(f"predict {held_out.name}", 0.7))
        before = replay_blind(checked, seed=seed)
        tell(Step(f"predict {held_out.name}", 0.85))
        after = replay_blind(checked, calibration.scenario(checked.scenario, str(output.resolve())), seed=seed)
    payload: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "fitted": [str(path) for path in fitted],
        "profile": str(output),
        "scenario": str(scenario),
        **calibration.to_json(),
        "check": {
            "recording": str(held_out),
            "queries": len(checked.first_rows()),
            "measured_ms": {name: value * 1e3 for name, value in before.measured_s.items()},
            "before": _prediction(before),
            "after": _prediction(after),
        },
        "versions": versions(),
    }
    if json:
        console.print_json(payload)
        return
    console.print_facts({key: payload[key] for key in ("profile", "scenario", "dispatch_us", "pools")})
    columns = ["latency of " + held_out.name, "measured ms", "before", "error", "after", "error"]
    console.print_table(
        "a run that was not fitted",
        columns,
        [
            [
                name,
                f"{measured * 1e3:.4g}",
                *(
                    text
                    for prediction in (before, after)
                    for text in (
                        f"{prediction.predicted_s[name] * 1e3:.4g}",
                        f"{100 * prediction.error[name]:+.1f} %",
                    )
                ),
            ]
            for name, measured in before.measured_s.items()
        ],
    )


def _prediction(compared: Comparison) -> dict[str, Any]:
    """By name the mean over seeds in milliseconds, the range of 95 % of them, and the error."""
    return {
        name: {
            "ms": predicted_s * 1e3,
            "range_ms": [end_s * 1e3 for end_s in compared.range_s[name]],
            "error": compared.error[name],
        }
        for name, predicted_s in compared.predicted_s.items()
    }
