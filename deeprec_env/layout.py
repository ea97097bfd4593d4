"""Tables as lines of text: as wide as they need, or as several tables, or blocks, that fit a width."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "
EMPTY = ("", "-")
"""What a cell without content holds."""


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """A table's lines, names on the left, figures on the right, without blanks at their ends.

    Columns without content are left out. What does not fit the `width` (None: any does) goes on in a further table,
    which begins with the first column again; where not even two columns fit beside each other each row is a block with
    a line for every column. No cell is ever cut.
    """
    kept = [
        position
        for position in range(len(columns))
        if position == 0 or not rows or any(row[position] not in EMPTY for row in rows)
    ]
    texts = {position: [columns[position], *(row[position] for row in rows)] for position in kept}
    widths = {position: max(map(len, cells)) for position, cells in texts.items()}
    parts = _parts(kept, widths, width)
    if parts is None:
        return _blocks(columns, rows, kept)
    lines: list[str] = []
    for part in parts:
        if lines:
            lines.append("")
        for line in zip(*(texts[position] for position in part), strict=True):
            name, *figures = line
            cells = [name.ljust(widths[0])]
            cells += [text.rjust(widths[position]) for text, position in zip(figures, part[1:], strict=True)]
            lines.append(GAP.join(cells).rstrip())
    return lines


def _parts(kept: Sequence[int], widths: dict[int, int], width: int | None) -> list[list[int]] | None:
    """The columns of each table; None where one does not fit beside the first."""
    first, *others = kept
    if width is None:
        return [list(kept)]
    parts, left = [[first]], width - widths[first]
    for position in others:
        needed = len(GAP) + widths[position]
        if needed > left:
            if len(parts[-1]) > 1:
                parts.append([first])
            left = width - widths[first]
        if needed > left:
            return None
        parts[-1].append(position)
        left -= needed
    return parts


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]], kept: Sequence[int]) -> list[str]:
    """For each row its name and, indented, its other columns that have content."""
    names = max(len(columns[position]) for position in kept[1:])
    lines: list[str] = []
    for row in rows:
        lines.append(row[0])
        lines += [
            f"{GAP}{columns[position].ljust(names)}{GAP}{row[position]}"
            for position in kept[1:]
            if row[position] not in EMPTY
        ]
    return lines
