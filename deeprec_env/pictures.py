"""Pictures in files: PNG, PDF or SVG by the file's suffix, whole or not there, the same bytes for the same data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import replacing_path

KINDS = ("png", "pdf", "svg")

Paths = Path | Sequence[Path]
"""Where a picture is written: a file, or several of different kinds."""

_GREY = "0.35"
_REPEATABLE: dict[str, dict[str, None]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
_TYPES: Any = {
    "svg.hashsalt": "deeprec-env",
    "pdf.fonttype": 42,
}  # fonts that publishers take, and names without chance


def picture_kinds(text: str | None) -> tuple[str, ...]:
    """The kinds of `--pictures`, comma-separated (None: PNG); `InputError` for others."""
    if text is None:
        return KINDS[:1]
    kinds = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    if not set(kinds) <= set(KINDS):
        raise InputError("pictures", text, f"must be of {', '.join(KINDS)}, comma-separated")
    return kinds


def picture_paths(folder: Path, name: str, kinds: Sequence[str]) -> list[Path]:
    """Files of one picture, a kind each."""
    return [folder / f"{name}.{kind}" for kind in kinds]


@contextmanager
def picture(
    paths: Paths,
    *,
    columns: int = 1,
    rows: int = 1,
    width: float = 6.4,
    height: float = 4.6,
    caption: str = "",
    **shared: Any,
) -> Iterator[Any]:
    """Axes to draw on, (rows, columns) of them, written to files when the block ends well.

    `width` and `height` of each in inches; `caption` stands below in small grey letters; `shared` goes to Matplotlib's
    `subplots` (sharex, sharey). Raises `InputError` for another suffix than those of `KINDS`, `NotInstalled` without
    Matplotlib.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    for path in files:
        if path.suffix[1:].lower() not in KINDS:
            raise InputError("picture", str(path), f"must be a file named *.{', *.'.join(KINDS)}")
    check_installed("matplotlib")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure.subplots(rows, columns, squeeze=False, **shared)
    if caption:
        figure.supxlabel(caption, fontsize=7, color=_GREY)
    for path in files:
        kind = path.suffix[1:].lower()
        with replacing_path(path) as temporary, mpl.rc_context(_TYPES):
            figure.savefig(temporary, dpi=120, format=kind, metadata=_REPEATABLE[kind])


def target_line(axes: Any, sla_ms: float, *, horizontal: bool, percentile: float = 95.0) -> None:
    """The target, dotted, with its name for a legend."""
    line = axes.axhline if horizontal else axes.axvline
    line(sla_ms, color="0.3", linestyle=":", linewidth=1.3, label=f"target: p{percentile:g} within {sla_ms:g} ms")


def plain_numbers(axis: Any) -> None:
    """Plain numbers on a logarithmic axis (`axes.xaxis`, `axes.yaxis`) when all is drawn: 1, 2, 5, 10 ... if few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    few = high < 1e3 * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
