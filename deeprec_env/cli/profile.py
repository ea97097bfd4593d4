"""`deeprec profile`, and `deeprec profile compare`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from deeprec_env import console
from deeprec_env.cli.options import Json, Pictures, Seed, print_result, whole_numbers
from deeprec_env.errors import InputError
from deeprec_env.extras import can_plot
from deeprec_env.files import check_writable, make_folder
from deeprec_env.latency.table import QUANTILES, ProfileRow
from deeprec_env.pictures import picture_kinds, picture_paths
from deeprec_env.provenance import Question, ask, asked
from deeprec_env.simulation.header import SCHEMA_VERSION

if TYPE_CHECKING:
    from deeprec_env.latency.comparison import Comparison


class _MeasureByDefault(TyperGroup):
    """`deeprec profile MODEL` measures: what is no command's name is an argument of `measure`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["measure", *args])


profile_commands = typer.Typer(cls=_MeasureByDefault, rich_markup_mode=None, help="Measure models, compare profiles.")


@profile_commands.command(
    epilog="Also: 'deeprec profile compare A B' gives the speed-up of one profile over another (--help says more)."
)
def measure(
    models: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model's name, package.module:factory for your own, or all.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="CSV file (default: profile.csv), or folder of --operators (default: runs/operators); models it holds "
            "already are not measured again."
        ),
    ] = None,
    operators: Annotated[
        bool, typer.Option("--operators", help="Measure the share of time of every operator group: CSV and picture.")
    ] = False,
    pictures: Pictures = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batches: Annotated[str | None, typer.Option(help="Batch sizes, comma-separated.")] = None,
    threads: Annotated[str, typer.Option(help="torch threads; several, comma-separated, go into one file.")] = "1",
    passes: Annotated[int | None, typer.Option(help="Passes over all batch sizes; the quieter half counts.")] = None,
    index_distribution: Annotated[
        str, typer.Option(help="Embedding indices: uniform, zipf, zipf:EXPONENT or stack:FILE.")
    ] = "uniform",
    rows_scale: Annotated[float, typer.Option(help="Fraction of the embedding rows.")] = 1.0,
    name: Annotated[str | None, typer.Option(help="What the profile calls the model (default: MODEL).")] = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Measure models into a profile. Interrupted, it goes on where it was when called again.

    'deeprec profile MODEL' is short for 'deeprec profile measure MODEL'.
    """
    if operators:  # the profiler's library writes lines of its own to stderr, unless told so before torch is loaded
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from deeprec_env.models import model_names

    names = tuple(model_names()) if models == "all" else (models,)
    sizes = None if batches is None else whole_numbers("batches", batches)
    if pictures is not None and not operators:
        raise InputError("pictures", pictures, "needs --operators")
    if operators:
        for option, value, default in (("device", device, "cpu"), ("threads", threads, "1"), ("passes", passes, None),
                                       ("name", name, None)):  # fmt: skip
            if value != default:
                raise InputError(option, value, "has no meaning with --operators: one CPU thread is profiled")
        _operators(
            names,
            output or Path("runs/operators"),
            picture_kinds(pictures),
            sizes,
            index_distribution,
            rows_scale,
            json,
            seed,
        )
        return
    from deeprec_env.profiling.measure import Effort
    from deeprec_env.profiling.profile import BATCHES, ProfileSettings, profile_models

    settings = ProfileSettings(
        models=names,
        device=device,
        batches=sizes or BATCHES,
        threads=whole_numbers("threads", threads),
        index_distribution=index_distribution,
        rows_scale=rows_scale,
        seed=seed,
        effort=Effort() if passes is None else Effort.of_passes(passes),
        name=name,
    )
    output = output or Path("profile.csv")
    steps = len(names) * len(settings.threads) * len(settings.batches) * settings.effort.passes
    kept = f"models that are done are kept in {output}; the same command goes on"
    with console.progress("profile", steps, quiet=json, kept=kept) as update:
        table = profile_models(settings, output, lambda model: update(model, 1))
    question = _measured(
        "profile",
        seed,
        models=names,
        device=device,
        batches=settings.batches,
        threads=settings.threads,
        passes=settings.effort.passes,
        index_distribution=index_distribution,
        rows_scale=rows_scale,
        name=name,
    )
    payload = {"schema_version": SCHEMA_VERSION, "output": str(output), "models": table.models(), **table.header}
    payload |= asked(question)
    measured = [row for row in table.rows if row.model in {settings.name or model for model in names}]
    if json:
        print_result(payload | {"latencies": [_latencies(row) for row in measured]}, json)
        return
    columns = ("model, batch", "threads", "part", "mean ms", "p50 ms", "p95 ms", "p99 ms")
    rows = []
    for row in measured:
        figures = _latencies(row)
        shown = [f"{figures[name]:.4g}" for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")]
        rows.append([f"{row.model}, {row.batch}", str(row.threads), row.part, *shown])
    console.print_table("latencies", columns, rows)
    print_result(payload, json)


def _measured(command: str, seed: int, **options: Any) -> Question:
    """The question of a command that measures this machine."""
    covers = ("models", "profiling")
    why = "it was measured, and times differ from run to run"
    return ask(command, None, seed=seed, split="", engine="", sources=covers, unrepeatable=why, **options)


def _latencies(row: ProfileRow) -> dict[str, Any]:
    """A row of a profile, by name."""
    quantiles = dict(zip(QUANTILES, row.quantiles_ms, strict=False))
    facts = {"model": row.model, "threads": row.threads, "part": row.part, "batch": row.batch, "mean_ms": row.mean_ms}
    return {**facts, **quantiles}


def _operators(
    names: tuple[str, ...],
    folder: Path,
    kinds: Sequence[str],
    batches: tuple[int, ...] | None,
    index_distribution: str,
    rows_scale: float,
    json: bool,
    seed: int,
) -> None:
    from deeprec_env.profiling.operators import BATCHES, GROUPS, OperatorSettings, operator_shares
    from deeprec_env.profiling.operators_picture import draw_shares

    draws = can_plot()
    settings = OperatorSettings(names, batches or BATCHES, index_distribution, rows_scale, seed)
    make_folder("output", folder)
    table, drawn = folder / "operators.csv", picture_paths(folder, "operators", kinds) if draws else []
    check_writable("output", table)
    with console.progress("operators", len(names) * len(settings.batches), quiet=json) as update:
        shares = operator_shares(settings, table, lambda model: update(model, 1))
    header = settings.header()
    if draws:
        draw_shares(drawn, shares, footnote=f"{header['cpu']}, torch {header['torch']}, one thread")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for share in shares:
        found.setdefault(share.model, {}).setdefault(str(share.batch), {})[share.operator] = share.share
    if json:
        payload = {"csv": str(table), **_drawn(drawn), "shares": found}
        question = _measured(
            "profile --operators",
            seed,
            models=names,
            batches=settings.batches,
            index_distribution=index_distribution,
            rows_scale=rows_scale,
        )
        print_result({"schema_version": SCHEMA_VERSION, **payload, **asked(question)}, json)
        return
    rows = [
        [f"{model}, batch {batch}", *(f"{100 * of_group[group]:.1f}" for group in GROUPS)]
        for model, of_batch in found.items()
        for batch, of_group in of_batch.items()
    ]
    console.print_table("Share of self CPU time (%)", ("", *GROUPS), rows)
    console.print_facts({"csv": str(table), **_drawn(drawn)})


@profile_commands.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A shipped profile's name, or a CSV file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    output: Annotated[Path, typer.Option(help="Folder for speed_up.csv and speed_up.png.")] = Path("runs/compare"),
    pictures: Pictures = None,
    threads: Annotated[
        str | None, typer.Option(help="Threads of A and of B, as 1,2 (default: the fewest that each holds).")
    ] = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Compare two profiles: speed-up of B over A per model and batch, and the batch where it passes 1."""
    from deeprec_env.latency.comparison import compare, write_comparison
    from deeprec_env.latency.comparison_picture import draw_comparison
    from deeprec_env.latency.profile import load_profile

    kinds, draws = picture_kinds(pictures), can_plot()
    counts = thread_counts(threads)
    compared = compare(load_profile(a), load_profile(b), counts)
    make_folder("output", output)
    table, drawn = output / "speed_up.csv", picture_paths(output, "speed_up", kinds) if draws else []
    check_writable("output", table)
    write_comparison(table, compared)
    labels = [name + (f", threads {count}" if count else "") for name, count in zip((a, b), counts, strict=True)]
    if draws:
        draw_comparison(drawn, compared, a=labels[0], b=labels[1])
    if json:
        print_result(comparison_json(a, b, threads, compared, {"csv": str(table), **_drawn(drawn)}), json)
        return
    batches = sorted({point.batch for entry in compared for point in entry.points})
    rows = []
    for entry in compared:
        speed_ups = {point.batch: f"{point.speed_up:.3g}" for point in entry.points}
        crossings = ", ".join(f"{batch:.1f}" for batch in entry.crossovers()) or "-"
        rows.append([entry.model, *(speed_ups.get(batch, "-") for batch in batches), crossings])
    title = f"Speed-up of B ({labels[1]}) over A ({labels[0]}) by batch"
    console.print_table(title, ("model", *map(str, batches), "passes 1 at"), rows)
    console.print_facts({"csv": str(table), **_drawn(drawn)})


def thread_counts(threads: str | None) -> tuple[int | None, int | None]:
    """A's and B's threads; None for the fewest that each holds."""
    counts: tuple[int | None, ...] = (None, None) if threads is None else whole_numbers("threads", threads)
    if len(counts) != 2:
        raise InputError("threads", threads, "must be two whole numbers: A's and B's")
    return counts[0], counts[1]


def comparison_json(
    a: str, b: str, threads: str | None, compared: Sequence[Comparison], files: Mapping[str, Any]
) -> dict[str, Any]:
    """What `compare` answers."""
    from deeprec_env.latency.profile import shipped_profiles

    found = {
        entry.model: {
            "speed_up": {str(point.batch): point.speed_up for point in entry.points},
            "crossover_batches": entry.crossovers(),
        }
        for entry in compared
    }
    own = {name: Path(name).resolve() for name in (a, b) if name not in shipped_profiles()}
    named = {"a": str(own.get(a, a)), "b": str(own.get(b, b))}
    paths = list(own.values())
    question = ask("profile compare", None, seed=0, split="", engine="", paths=paths, threads=threads, **named)
    return {"schema_version": SCHEMA_VERSION, "a": a, "b": b, "models": found, **files, **asked(question)}


def _drawn(paths: Sequence[Path]) -> dict[str, Any]:
    """The part of a result's JSON that says where its picture is."""
    return {"picture": str(paths[0]) if paths else None, "pictures": [str(path) for path in paths]}
