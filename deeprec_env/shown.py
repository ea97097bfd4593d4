"""Results as notebooks and pandas take them: one mixin, from what a result's JSON holds."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeprec_env.extras import check_installed

if TYPE_CHECKING:
    import pandas as pd

ABOUT = frozenset({"schema_version", "question", "versions", "devices", "streams_sha256"})
"""Keys of results that are no figures."""

Rows = list[dict[str, Any]]


def frame(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> pd.DataFrame:
    """A pandas `DataFrame` of rows, or of columns; `NotInstalled`, which names the extra, without pandas."""
    check_installed("pandas")
    import pandas as pd

    return pd.DataFrame(rows)


class Shown:
    """What has a `to_json`: a frame, and a table in notebooks (HTML) and in Markdown."""

    def to_json(self) -> dict[str, Any]:
        """The result as its command prints it."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The figures as a pandas `DataFrame`, a row for what the result is about; intervals as `_low` and `_high`.

        Raises `NotInstalled`, which names the extra, without pandas.
        """
        return frame(self._rows())

    def _rows(self) -> Rows:
        return [flat(self.to_json())]

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Columns, and rows of text; names come first."""
        [row] = self._rows()
        return ("", type(self).__name__), [(name, text(value)) for name, value in row.items()]

    def _repr_html_(self) -> str:
        columns, rows = self._table()
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
        body = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th>'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, *cells in rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_markdown_(self) -> str:
        columns, rows = self._table()
        return "\n".join(markdown_table(columns, rows))


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table's lines in Markdown, names on the left, figures on the right."""
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)], *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def flat(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A result's figures, nested keys joined by dots, of an interval its two ends; what is no figure is left out."""
    return dict(_flat({key: value for key, value in payload.items() if key not in ABOUT}))


def _flat(payload: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in payload.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif key.split("_").count("ci") and (value is None or isinstance(value, list | tuple)):
            low, high = (None, None) if value is None else value
            name = prefix + (key.replace("_ci", "", 1) if key != "ci" else "ci")
            yield from ((f"{name}_low", low), (f"{name}_high", high))
        else:
            yield prefix + key, value


def text(value: Any) -> str:
    """A figure as tables show it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(text, value)) if isinstance(value, list | tuple) else str(value)
