"""Merging measurements of the same machine: of each row the quietest, by its median.

    python -m deeprec_env.profiling.merge OUTPUT.csv FIRST.csv SECOND.csv ...

On a shared machine slow phases can outlast the measurement of a model. Measured again at another time, the model meets
another phase.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.latency.table import LEVELS, ProfileRow, ProfileTable, read_profile, write_profile

_MAY_DIFFER = ("date",)
_MEDIAN = LEVELS.index(0.50)


def merge(tables: Sequence[ProfileTable]) -> ProfileTable:
    """One table with the quietest row of each model, device, batch and part; `InputError` if conditions differ."""
    header = dict(tables[0].header)
    for table in tables[1:]:
        for key in header.keys() | table.header.keys():
            if key not in _MAY_DIFFER and header.get(key) != table.header.get(key):
                raise InputError(key, table.header.get(key), f"the first measurement has {header.get(key)!r}")
    quietest: dict[tuple[str, str, int, str], ProfileRow] = {}
    for table in tables:
        for row in table.rows:
            key_of_row = (row.model, row.device, row.batch, row.part)
            known = quietest.get(key_of_row)
            if known is None or row.quantiles_ms[_MEDIAN] < known.quantiles_ms[_MEDIAN]:
                quietest[key_of_row] = row
    header["measurements"] = f"quietest row of {len(tables)}"
    return ProfileTable(header, tuple(quietest.values()))


if __name__ == "__main__":
    merged = merge([read_profile(Path(name)) for name in sys.argv[2:]])
    write_profile(Path(sys.argv[1]), merged.header, merged.rows)
