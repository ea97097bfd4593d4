"""RecPipe's logs as the tables that `deeprec pipeline replay` and `cache --compare` read.

    git clone https://github.com/harvard-acc/RecPipe
    python -m deeprec_env.recpipe.replay.artifact RecPipe DATA

writes DATA/cpu_gpu_runs.csv, DATA/accelerator_runs.csv and DATA/embedding_cache.csv.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.files import replacing
from deeprec_env.recpipe.replay.runs import ACCELERATOR_COLUMNS, CPU_GPU_COLUMNS

LOGS = Path("logs", "example_logs")
CPU_GPU_LOGS = ("figure7_8_kaggle1.out", "figure7_8_kaggle2.out")
ACCELERATOR_LOGS = ("figure12_kaggle1.out", "figure12_kaggle2.out")
CACHE_RESULTS = Path("RPAccel_characterization", "embedding", "results")
LEFT_OUT = "dim_16|dim_32"
"""Models of the pipelines on CPU and GPU that docs/rpaccel.md does not count: 540 further runs."""

ACCELERATOR_QUERIES = 10_000
"""What the configurations of its accelerator runs say; the logs do not."""

CACHE_COLUMNS = (
    "filter_ratio", "cache_mib", "fraction_stage1", "entries_stage1", "entries_stage2", "accesses_stage1",
    "accesses_stage2", "hitrate_stage1", "hitrate_stage2", "hitrate_accesses", "hitrate_bytes", "amat_cycles",
)  # fmt: skip
_MISS_CYCLES = 100

Row = dict[str, Any]
Report = dict[str, list[Any]]
"""What a log says of one run: the numbers of each of its lines, by the line's name."""

_LINE = re.compile(r"\*{4}(?P<name>.*?)[: ]+(?P<value>\[.*\]|\S+)")
_ENGINE = re.compile(r"Launched inference engine (?P<stage>\d+)/\d+")


def reports(path: Path) -> Iterator[tuple[Report, Counter[int]]]:
    """The reports of a log, and how many engines of each stage were launched since the sweep began."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError("clone", str(path), f"must be a readable log of RecPipe's ({error.strerror})") from None
    engines: Counter[int] = Counter()
    report: Report = {}
    reported = False
    for line in lines:
        if launched := _ENGINE.match(line):
            if reported:  # the next sweep
                engines, reported = Counter(), False
            engines[int(launched["stage"])] += 1
        elif line.startswith("====="):
            if len(report) > 2:  # an engine that leaves says its time alone
                yield report, Counter(engines)
                reported = True
            report = {}
        elif line.startswith("('****"):  # a tuple, as Python 2 prints one
            name, *values = ast.literal_eval(line)
            report[name.strip("*: ")] = values
        elif found := _LINE.fullmatch(line):
            report[found["name"]] = [ast.literal_eval(found["value"])]


def cpu_gpu_rows(paths: Sequence[Path]) -> list[Row]:
    """The runs on CPU cores and GPUs, in the order of the logs."""
    rows = []
    for path in paths:
        for report, engines in reports(path):
            if "GPU Flags" not in report:
                continue
            flags, queries = report["GPU Flags"][0], report["Total queries"][0]
            infer, total = report["Inference time"], report["Total time"]
            row = _shared(report, queries, report["Average Arrival Rate"][0], (*infer, *total))
            row["gpu_flags"] = _joined("gpu" if flag else "cpu" for flag in flags)
            row["engines"] = _joined(engines[stage] for stage in range(len(flags)))
            row["sort_mean_s"] = report["Sort time"][0]
            for stage in range(3):
                row[f"stage{stage + 1}_avg_s"] = report.get(f"Stage {stage} average time", [""])[0]
            row["ndcg64"], row["error"] = report["DCGs @ 64"][0], report["Error"][0]
            if row["models"] != LEFT_OUT:
                rows.append(row)
    return _positioned(rows)


def accelerator_rows(paths: Sequence[Path]) -> list[Row]:
    """The runs on units of the accelerator, in the order of the logs."""
    rows = []
    for path in paths:
        for report, _ in reports(path):
            if "accel config" not in report:
                continue
            names = ("Infer mean time (s)", "Infer tail time (s)", "Total mean time (s)", "Total tail time (s)")
            times = [report[name][0] for name in names]
            row = _shared(report, ACCELERATOR_QUERIES, report["Arrival rate"][0], times)
            units = [re.sub(r"\D", "", Path(name).stem) for name in report["accel config"][0]]
            rows.append(row | {"hardconf": _joined(units), "counts": _joined(report["accel counts"][0])})
    return _positioned(rows)


def cache_rows(folder: Path) -> list[Row]:
    """The embedding caches, from one JSON file each: FILTER_MIB_FRACTION.json."""
    rows = []
    for path in folder.glob("*.json"):
        ratio, mib, fraction = path.stem.split("_")
        found = json.loads(path.read_text(encoding="utf-8"))
        of_bytes = found["bytes_sram_total"] / found["bytes_total"]
        values = (
            float(ratio), int(mib), float(fraction), found["cache_entries_1"], found["cache_entries_2"],
            found["accesses_total"] - found["accesses_2"], found["accesses_2"], found["hitrate_1"] / 100,
            found["hitrate_2"] / 100, found["hitrate_total"] / 100, of_bytes,
            _MISS_CYCLES * (1 - of_bytes) + of_bytes,
        )  # fmt: skip
        rows.append(dict(zip(CACHE_COLUMNS, values, strict=True)))
    if not rows:
        raise InputError("clone", str(folder), "must hold the results of RecPipe's embedding caches")
    return sorted(rows, key=lambda row: (-row["filter_ratio"], row["cache_mib"], row["fraction_stage1"]))


def _shared(report: Report, queries: int, gap_ms: float, times: Sequence[float]) -> Row:
    models = [re.sub(r"(dim_\d+).*", r"\1", Path(name).stem) for name in str(report["model config"][0]).split(",")]
    return {
        "stages": len(models),
        "models": _joined(models),
        "items": _joined(report["batch_size"][0]),
        "sweep_pos": 0,
        "arrival_mean_gap_ms": float(gap_ms),
        "num_queries": queries,
        "achieved_qps": queries / float(report["Total experiment time (s)"][0]),
        **dict(zip(("infer_mean_s", "infer_p95_s", "total_mean_s", "total_p95_s"), times, strict=True)),
    }


def _joined(values: Any) -> str:
    return "|".join(map(str, values))


def _positioned(rows: list[Row]) -> list[Row]:
    """Number the runs of each pipeline's sweep, which goes from short gaps to long ones."""
    gap_ms, position = 0.0, -1
    for row in rows:
        position = position + 1 if row["arrival_mean_gap_ms"] > gap_ms else 0
        gap_ms, row["sweep_pos"] = row["arrival_mean_gap_ms"], position
    if not rows:
        raise InputError("clone", "no runs", "must be a clone of RecPipe's repository with its example logs")
    return rows


def write_tables(clone: Path, folder: Path, say: Callable[[str], None] = print) -> None:
    """Write the tables of a clone into a folder; `InputError` where its files are not there."""
    logs = clone / LOGS
    stages = tuple(f"stage{stage}_avg_s" for stage in (2, 3))
    tables = {
        "cpu_gpu_runs": (
            (*CPU_GPU_COLUMNS, *stages, "ndcg64", "error"), cpu_gpu_rows([logs / name for name in CPU_GPU_LOGS])
        ),
        "accelerator_runs": (ACCELERATOR_COLUMNS, accelerator_rows([logs / name for name in ACCELERATOR_LOGS])),
        "embedding_cache": (CACHE_COLUMNS, cache_rows(clone / CACHE_RESULTS)),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, (columns, rows) in tables.items():
        with replacing(folder / f"{name}.csv") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        say(f"{folder / name}.csv: {len(rows)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("python -m deeprec_env.recpipe.replay.artifact CLONE FOLDER")
    try:
        write_tables(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as wrong:
        raise SystemExit(f"error: {wrong}") from None
