"""Merging measurements of the same machine: of each row the quietest, by its median; thread counts side by side.

    python -m deeprec_env.profiling.merge OUTPUT.csv FIRST.csv SECOND.csv ...

On a shared machine slow phases can outlast the measurement of a model. Measured again at another time, the model meets
another phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deeprec_env import console
from deeprec_env.errors import InputError
from deeprec_env.files import check_writable
from deeprec_env.latency.table import LEVELS, THREADS, ProfileRow, ProfileTable, read_profile, write_profile

_MAY_DIFFER = ("date", THREADS)
_MEDIAN = LEVELS.index(0.50)


def merge(tables: Sequence[ProfileTable]) -> ProfileTable:
    """One table with the quietest row of each model, device, thread count, batch and part.

    `InputError` if the measurements' conditions differ; thread counts may.
    """
    header = dict(tables[0].header)
    for table in tables[1:]:
        for key in header.keys() | table.header.keys():
            if key not in _MAY_DIFFER and header.get(key) != table.header.get(key):
                raise InputError(key, table.header.get(key), f"the first measurement has {header.get(key)!r}")
    measured: dict[tuple[str, str, int, int, str], list[ProfileRow]] = {}
    for table in tables:
        for row in table.rows:
            measured.setdefault((row.model, row.device, row.threads, row.batch, row.part), []).append(row)
    counts = sorted({row.threads for rows in measured.values() for row in rows})
    if len(counts) > 1:
        header[THREADS] = ",".join(map(str, counts))
    fewest, most = (of(len(rows) for rows in measured.values()) for of in (min, max))
    if most > 1:
        header["measurements"] = f"quietest row of {most if fewest == most else f'{fewest} to {most}'}"
    return ProfileTable(
        header, tuple(min(rows, key=lambda row: row.quantiles_ms[_MEDIAN]) for rows in measured.values())
    )


app = console.application("Merge measurements of the same machine into one profile.")


@app.command()
def main(output: Path, measured: list[Path]) -> None:
    """Write the quietest row of each from some profiles, side by side where they have other thread counts."""
    check_writable("output", output)
    merged = merge([read_profile(path) for path in measured])
    write_profile(output, merged.header, merged.rows)


if __name__ == "__main__":
    console.run(app, "deeprec_env.profiling.merge")
