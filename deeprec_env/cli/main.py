"""The `deeprec` command."""

from __future__ import annotations

from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.agents import evaluate
from deeprec_env.cli.calibrate import calibrate
from deeprec_env.cli.compare_results import compare_results
from deeprec_env.cli.controls import controls
from deeprec_env.cli.explain import explain_command
from deeprec_env.cli.fidelity import fidelity
from deeprec_env.cli.fleet import app as fleet
from deeprec_env.cli.leaderboard import leaderboard
from deeprec_env.cli.live import live
from deeprec_env.cli.load import load
from deeprec_env.cli.paper import paper
from deeprec_env.cli.pipeline import app as pipeline
from deeprec_env.cli.pipeline_paper import figure, headlines
from deeprec_env.cli.pipeline_search import schedule, sweep
from deeprec_env.cli.profile import profile_commands
from deeprec_env.cli.quality import group as quality
from deeprec_env.cli.replay import replay
from deeprec_env.cli.report import report
from deeprec_env.cli.rerun import rerun
from deeprec_env.cli.schema import schema
from deeprec_env.cli.search import capacity, tune
from deeprec_env.cli.serve import serve
from deeprec_env.cli.simulate import scenarios, simulate_command
from deeprec_env.cli.train import train
from deeprec_env.cli.verify import verify
from deeprec_env.version import __version__

app = console.application("A laboratory for serving neural recommendation models.", completion=True)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """A laboratory for serving neural recommendation models."""
    if version:
        typer.echo(f"deeprec-env {__version__}")
        raise typer.Exit


app.command()(scenarios)
app.command()(schema)
app.command("simulate")(simulate_command)
app.command()(live)
app.command("explain")(explain_command)
app.command()(replay)
app.command()(calibrate)
app.command()(fidelity)
app.command()(serve)
app.command()(load)
app.command()(capacity)
app.command()(tune)
app.command()(rerun)
app.command()(verify)
app.command()(leaderboard)
app.command()(report)
app.command("compare")(compare_results)
app.command()(paper)
app.command()(controls)
app.add_typer(profile_commands, name="profile")
app.command()(train)
app.command()(evaluate)
app.add_typer(quality, name="quality")
app.add_typer(pipeline, name="pipeline")
app.add_typer(fleet, name="fleet")
pipeline.command()(sweep)
pipeline.command()(schedule)
pipeline.command()(figure)
pipeline.command()(headlines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; bad input is one line on stderr and exit status 2."""
    console.run(app, "deeprec", arguments)


if __name__ == "__main__":
    main()
