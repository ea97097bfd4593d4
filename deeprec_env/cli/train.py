"""`deeprec train`: an agent, several seeds of one, or a search for its hyperparameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.agents import ENV_HELP, REWARDS_HELP, load_training
from deeprec_env.cli.by_recipe import train_by_recipe
from deeprec_env.cli.day_note import tell_day
from deeprec_env.cli.options import Cluster, Engine, Json, ScenarioArgument, Seed, print_result
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor, Threads, executor_of
from deeprec_env.scenario.load import load_scenario

VALIDATE_EVERY = 4096
_RECIPE_HELP = "specialist: tables, imitation, then PPO, with a schedule of its own; a minute or two (needs no --algo)."
_LOG_HELP = "Logs, comma-separated: tensorboard, csv, json, log, stdout, wandb (default: tensorboard)."


def train(
    scenario: ScenarioArgument,
    algo: Annotated[str | None, typer.Option(help="ppo, ppo_lstm, a2c, dqn, qrdqn, sac or td3 (default: ppo).")] = None,
    recipe: Annotated[str | None, typer.Option(help=_RECIPE_HELP)] = None,
    env: Annotated[str, typer.Option(help=ENV_HELP)] = "serving",
    timesteps: Annotated[int | None, typer.Option(help="Environment steps (default: the hyperparameters').")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder (default: runs/train/SCENARIO-ALGO-SEED; runs/train/SCENARIO/ALGO of several seeds, "
            "runs/search/SCENARIO-ALGO of a search; of a recipe its name for ALGO, in serving-v2 with -v2 behind it)."
        ),
    ] = None,
    reward: Annotated[str | None, typer.Option(help=f"{REWARDS_HELP} (default: the first).")] = None,
    hyperparams: Annotated[Path | None, typer.Option(help="YAML in RL Zoo format (default: the shipped one).")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Train with seeds SEED .. SEED + SEEDS - 1 side by side; learning curves.")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Search for hyperparameters on validation days (needs --trials).")
    ] = False,
    trials: Annotated[int | None, typer.Option(help="Trainings of a search, those done before included.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of an Optuna storage: searches on several machines share its trials (needs --search)."),
    ] = None,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = VALIDATE_EVERY,
    log: Annotated[str | None, typer.Option(help=_LOG_HELP)] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's last checkpoint.")] = False,
    engine: Engine = "compiled",
    cluster: Cluster = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Train an agent (needs the extra 'agents').

    A scenario whose arrivals are no day gets one, as in 'deeprec evaluate': its own arrivals are not used then.
    """
    if recipe is not None:
        left_out = {
            **{"algo": algo, "timesteps": timesteps, "reward": reward, "hyperparams": hyperparams, "trials": trials},
            "storage": storage,
            **{"search": search or None, "log": log, "resume": (resume and seeds is None) or None},
            **{"engine": None if engine == "compiled" else engine, "cluster": cluster},
            "validate_every": None if validate_every == VALIDATE_EVERY else validate_every,
        }
        train_by_recipe(
            recipe, scenario, env, seed=seed, seeds=seeds, output=output, resume=resume, json=json, left_out=left_out
        )
        return
    algo = "ppo" if algo is None else algo
    if storage is not None and not search:
        raise InputError("storage", storage, "needs --search")
    if cluster is not None and seeds is None:
        raise InputError("cluster", cluster, "needs --seeds: one training is one piece of work")
    executor = None if cluster is None else executor_of(cluster, Threads(1))
    _check(seeds=seeds, search=search, trials=trials, resume=resume, log=log, json=json)
    training = load_training()
    settings = training.TrainSettings(
        scenario=scenario,
        algo=algo,
        env=env,
        timesteps=timesteps,
        reward=reward,
        hyperparams=hyperparams,
        engine=engine,
        seed=seed,
        validate_every=validate_every,
        log=("tensorboard",) if log is None else tuple(log.split(",")),
    )
    name = Path(scenario).stem
    if not json:
        _tell_day(settings)
    if search:
        answer = _search(settings, output or Path("runs/search") / f"{name}-{algo}", name, trials, storage, quiet=json)
    elif seeds is not None:
        folder = output or Path("runs/train") / name / algo
        answer = _several(settings, folder, name, seeds, resume=resume, quiet=json, executor=executor)
        if not json:
            typer.echo(answer.in_words())
            told = {key: value for key, value in answer.to_json().items() if key not in ("final", "best", "seeds")}
            print_result(told, json)
            return
    else:
        folder = output or Path("runs/train") / f"{name}-{algo}-{seed}"
        kept = _kept(folder, folder / "last_state.json")
        with console.progress(f"train {name}", settings.total_timesteps(), quiet=json, kept=kept) as update:
            answer = training.train(settings, folder, resume=resume, progress=update)
    print_result(answer.to_json(), json)


def _tell_day(settings: Any) -> None:
    """Say which days are trained on, before they are; what was found out for that is kept."""
    settings.total_timesteps()  # bad hyperparameters first: a capacity may have to be searched for
    loaded = load_scenario(settings.scenario)
    prepared = settings.evaluation.prepare(loaded, settings.engine, settings.evaluation.choices)
    tell_day(str(settings.scenario), loaded, prepared, quiet=False)


def _check(*, seeds: int | None, search: bool, trials: int | None, resume: bool, log: str | None, json: bool) -> None:
    """What options do not go together, before anything is loaded."""
    if json and log is not None and "stdout" in log.split(","):
        raise InputError("log", "stdout", "can't be with --json, which prints one JSON object and nothing else")
    if not search:
        if trials is not None:
            raise InputError("trials", trials, "needs --search")
        return
    if trials is None:
        raise InputError("trials", None, "must be given with --search: how many trainings it may take")
    if seeds is not None:
        raise InputError("seeds", seeds, "can't be with --search; train with several seeds what it finds")
    if log is not None:
        raise InputError("log", log, "has no effect with --search, which keeps no logs")
    if resume:
        raise InputError("resume", resume, "is not for --search, which goes on with the folder's trials by itself")


def _several(
    settings: Any, folder: Path, name: str, seeds: int, *, resume: bool, quiet: bool, executor: Executor | None
) -> Any:
    from deeprec_env.agents.seeds import train_seeds

    total, kept = settings.total_timesteps() * max(seeds, 1), _kept(folder, folder, "*/last_state.json")
    with console.progress(f"train {name}", total, quiet=quiet, kept=kept) as update:
        return train_seeds(settings, seeds, folder, resume=resume, progress=update, executor=executor)


def _search(settings: Any, folder: Path, name: str, trials: int | None, storage: str | None, *, quiet: bool) -> Any:
    from deeprec_env.agents.search import Search

    begun = Search(settings, folder, trials or 0, storage=storage)
    kept = f"trials that are done are kept in {storage or begun.csv}; the same command goes on"
    with console.progress(f"search {name}", begun.timesteps, quiet=quiet, kept=kept) as update:
        return begun.run(update)


def _kept(folder: Path, checkpoint: Path, pattern: str = "") -> console.Kept:
    """What to say of an interrupted training: whether there is a checkpoint."""

    def said() -> str:
        there = any(checkpoint.glob(pattern)) if pattern else checkpoint.exists()
        return f"a checkpoint is in {folder}; the same command with --resume goes on" if there else console.NOTHING_KEPT

    return said
