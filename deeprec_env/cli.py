"""The `deeprec` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import (
    PERCENTILE,
    PRECISION,
    QUERIES,
    SWEEP_QUERIES,
    TUNING_QUERIES,
    find_capacity,
)
from deeprec_env.errors import InputError
from deeprec_env.scenario.load import assignments, load_scenario, preset_names, preset_text
from deeprec_env.scenario.schema import Threshold
from deeprec_env.simulation.simulate import QUERIES as RUN_QUERIES
from deeprec_env.simulation.simulate import SCHEMA_VERSION, FromScenario, simulate
from deeprec_env.version import __version__

app = console.application("A laboratory for serving neural recommendation models.")

ScenarioArgument = Annotated[str, typer.Argument(help="A preset's name (see 'deeprec scenarios') or a YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Change a scenario's value: key.path=value.")]
BatchSize = Annotated[int | None, typer.Option(help="Most items in a request (default: the scenario's).")]
ThresholdOption = Annotated[str | None, typer.Option(help="Offload from so many items on, or null for never.")]
Engine = Annotated[str, typer.Option(help="Simulation engine: compiled or asyncio (the same bytes).")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """A laboratory for serving neural recommendation models."""
    if version:
        typer.echo(f"deeprec-env {__version__}")
        raise typer.Exit


@app.command()
def scenarios(name: Annotated[str | None, typer.Argument()] = None, json: Json = False, seed: Seed = 0) -> None:
    """List the shipped scenarios, or print one as YAML."""
    if name is None and json:
        console.print_json({"schema_version": SCHEMA_VERSION, "scenarios": preset_names()})
    elif name is None:
        typer.echo("\n".join(preset_names()))
    elif json:
        console.print_json(load_scenario(preset_scenario(name)).model_dump(mode="json"))
    else:
        typer.echo(preset_text(name), nl=False)


def preset_scenario(name: str) -> str:
    """The name, if it is a preset's."""
    preset_text(name)
    return name


@app.command("simulate")
def simulate_command(
    scenario: ScenarioArgument,
    qps: Annotated[float | None, typer.Option(help="Stationary Poisson at this rate.")] = None,
    batch_size: BatchSize = None,
    threshold: ThresholdOption = None,
    queries: Annotated[int, typer.Option(help="Arrivals to simulate.")] = RUN_QUERIES,
    engine: Engine = "compiled",
    set_: Overrides = None,
    records: Annotated[Path | None, typer.Option(help="Write every query to this file: *.csv or *.parquet.")] = None,
    split: Annotated[str, typer.Option(help="Stream: train, validation or test.")] = "train",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Run a scenario and summarise its latencies, rates and energy."""
    with console.progress("simulate", queries, quiet=json) as update:
        result = simulate(
            load_scenario(scenario, set_ or ()),
            qps=qps,
            batch_size=batch_size,
            threshold=_threshold(threshold),
            queries=queries,
            seed=seed,
            split=split,
            engine=engine,
            records=records,
            progress=lambda done: update("simulate", done),
        )
    if result.overloaded and not json:
        pools = ", ".join(
            f"{work.label} has an offered load of {work.load(result.qps_offered):.3g}"
            for work in result.overloaded_pools()
        )
        typer.echo(f"overloaded: {pools}, so these latencies grow with the run", err=True)
    _print(result.to_json(), json)


@app.command()
def capacity(
    scenario: ScenarioArgument,
    batch_size: BatchSize = None,
    threshold: ThresholdOption = None,
    percentile: Annotated[float, typer.Option(help="Percentile that the target is for: 50 to 99.9.")] = PERCENTILE,
    queries: Annotated[
        int | None,
        typer.Option(help=f"Most queries of a probed rate (default: {QUERIES}; {SWEEP_QUERIES} in a sweep)."),
    ] = None,
    precision: Annotated[
        float, typer.Option(help="Half-width of the interval, in the value, that will do.")
    ] = PRECISION,
    sweep: Annotated[bool, typer.Option("--sweep", help="Map all settings of the ladders: CSV and heat map.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of a sweep (default: runs/capacity/SCENARIO); it goes on with its CSV.")
    ] = None,
    engine: Engine = "compiled",
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Find the highest stationary Poisson rate that settings carry within the target, and its interval."""
    loaded = load_scenario(scenario, set_ or ())
    if not sweep:
        if output is not None:
            raise InputError("output", str(output), "needs --sweep")
        found = find_capacity(
            loaded,
            batch_size=batch_size,
            threshold=_threshold(threshold),
            percentile=percentile,
            queries=queries or QUERIES,
            precision=precision,
            seed=seed,
            engine=engine,
        )
        _print(found.to_json(), json)
        return
    if batch_size is not None or threshold is not None:
        raise InputError("sweep", "--batch-size, --threshold", "takes every setting of the ladders, and no other")
    from deeprec_env.analysis.heatmap import check_plotting
    from deeprec_env.analysis.sweep import Sweep

    check_plotting()
    name = Path(scenario).stem
    mapped = Sweep(
        loaded,
        name,
        output or Path("runs/capacity") / name,
        percentile=percentile,
        queries=queries or SWEEP_QUERIES,
        precision=precision,
        seed=seed,
        engine=engine,
    )
    with console.progress(f"sweep {name}", mapped.settings, quiet=json) as update:
        mapped.run(update)
    _print(mapped.to_json(), json)


@app.command()
def tune(
    scenario: ScenarioArgument,
    method: Annotated[
        str, typer.Option(help="deeprecsched, deeprecsched-repository, grid-capacity (or grid), grid-day, static.")
    ]
    = "deeprecsched",
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    days: Annotated[int, typer.Option(help="Validation days of grid-day.")] = 16,
    param: Annotated[list[str] | None, typer.Option(help="A parameter of the method: name=value.")] = None,
    engine: Engine = "compiled",
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Search for the best settings of a scenario."""
    from policies.tune import TuneOptions
    from policies.tune import tune as tune_scenario

    parameters = dict(assignments("--param", param or ()))
    options = TuneOptions(queries=queries, days=days, seed=seed, engine=engine, parameters=parameters)
    with console.progress(method, None, quiet=json) as update:
        loaded = load_scenario(scenario, set_ or ())
        result = tune_scenario(loaded, method, options, lambda what: update(what, 1))
    _print(result.to_json(), json)


@app.command()
def profile(
    models: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, or all.")],
    output: Annotated[Path, typer.Option(help="CSV file; models it holds already are not measured again.")] = Path(
        "profile.csv"
    ),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batches: Annotated[str | None, typer.Option(help="Batch sizes, comma-separated.")] = None,
    threads: Annotated[int, typer.Option(help="torch threads.")] = 1,
    index_distribution: Annotated[str, typer.Option(help="Embedding indices: uniform or zipf.")] = "uniform",
    rows_scale: Annotated[float, typer.Option(help="Fraction of the embedding rows.")] = 1.0,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Measure models into a profile. Interrupted, it goes on where it was when called again."""
    from deeprec_env.models import MODELS
    from deeprec_env.profiling import BATCHES, ProfileSettings, profile_models

    settings = ProfileSettings(
        models=tuple(MODELS) if models == "all" else (models,),
        device=device,
        batches=_whole_numbers("batches", batches) if batches else BATCHES,
        threads=threads,
        index_distribution=_index_distribution(index_distribution),
        rows_scale=rows_scale,
        seed=seed,
    )
    steps = len(settings.models) * len(settings.batches) * settings.effort.passes
    with console.progress("profile", steps, quiet=json) as update:
        table = profile_models(settings, output, lambda model: update(model, 1))
    payload = {"schema_version": SCHEMA_VERSION, "output": str(output), "models": table.models(), **table.header}
    _print(payload, json)


@app.command()
def train(
    scenario: ScenarioArgument,
    algo: Annotated[str, typer.Option(help="Algorithm: ppo.")] = "ppo",
    timesteps: Annotated[int | None, typer.Option(help="Environment steps (default: the hyperparameters').")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder (default: runs/train/SCENARIO-ALGO-SEED).")] = None,
    reward: Annotated[str, typer.Option(help="tail, goodput or efficiency.")] = "tail",
    hyperparams: Annotated[Path | None, typer.Option(help="YAML in RL Zoo format (default: the shipped one).")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's last checkpoint.")] = False,
    engine: Engine = "compiled",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Train an agent (needs the extra 'agents')."""
    try:
        from agents.train import TrainSettings
        from agents.train import train as train_agent
    except ModuleNotFoundError as error:
        raise InputError("train", error.name, "is not installed: pip install 'deeprec-env[agents]'") from None

    name = Path(scenario).stem
    settings = TrainSettings(
        scenario=scenario,
        algo=algo,
        timesteps=timesteps,
        reward=reward,
        hyperparams=hyperparams,
        engine=engine,
        seed=seed,
    )
    folder = output or Path("runs/train") / f"{name}-{algo}-{seed}"
    with console.progress(f"train {name}", settings.total_timesteps(), quiet=json) as update:
        trained = train_agent(settings, folder, resume=resume, progress=update)
    _print(trained.to_json(), json)


@app.command()
def evaluate(
    scenario: ScenarioArgument,
    policies: Annotated[str, typer.Option(help="Names (also hindsight, random), or paths of agents.")]
    = "static,deeprecsched,grid-capacity,grid-day,load-table,rate-oracle",
    traffic: Annotated[str, typer.Option(help="day: built from the scenario's capacity; flash: with flash crowds.")]
    = "day",
    seeds: Annotated[int, typer.Option(help="Test days: seeds SEED .. SEED + SEEDS - 1.")] = 5,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    engine: Engine = "compiled",
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Compare policies and trained agents on the same test days."""
    from policies.evaluate import evaluate as evaluate_policies
    from policies.report import print_evaluation
    from policies.tune import TuneOptions

    options = TuneOptions(queries=queries, engine=engine)
    with console.progress("evaluate", None, quiet=json) as update:
        loaded, names = load_scenario(scenario, set_ or ()), [name for name in policies.split(",") if name]
        evaluation = evaluate_policies(
            loaded,
            names,
            seed=seed,
            seeds=seeds,
            options=options,
            traffic=traffic,
            progress=lambda what: update(what, 1),
        )
    if json:
        console.print_json(evaluation.to_json())
    else:
        print_evaluation(evaluation, scenario)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; bad input is one line on stderr and exit status 2."""
    console.run(app, "deeprec", arguments)


def _print(payload: dict[str, Any], json: bool) -> None:
    (console.print_json if json else console.print_facts)(payload)


def _threshold(text: str | None) -> Threshold | FromScenario:
    if text is None:
        return "scenario"
    if text.lower() in ("null", "none", "never"):
        return None
    numbers = _whole_numbers("threshold", text)
    if len(numbers) > 1:
        raise InputError("threshold", text, "must be one whole number, or null")
    return numbers[0]


def _whole_numbers(field: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(field, text, "must be whole numbers") from None


def _index_distribution(text: str) -> Literal["uniform", "zipf"]:
    if text == "uniform":
        return "uniform"
    if text == "zipf":
        return "zipf"
    raise InputError("index_distribution", text, "must be uniform or zipf")


if __name__ == "__main__":
    main()
