"""What commands print: tables and JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deeprec_env.errors import InputError

_TYPED = ContextVar("typed", default="")


def application(description: str) -> typer.Typer:
    """A command-line application without boxes: `run` prints its errors."""
    return typer.Typer(
        help=description,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def run(app: typer.Typer, name: str, arguments: list[str] | None = None) -> None:
    """Run an application and exit; bad input is one line on stderr and exit status 2."""
    typed = _TYPED.set(shlex.join([name, *(sys.argv[1:] if arguments is None else arguments)]))
    try:
        status = app(arguments, prog_name=name, standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        sys.exit(1)
    except InputError as error:
        _fail(str(error), 2)
    except typer.TyperException as error:
        _fail(error.format_message(), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}", 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; what was finished is kept", 130)
    finally:
        _TYPED.reset(typed)


def typed_line() -> str:
    """The command line that is being run, as it would be typed; empty from Python."""
    return _TYPED.get()


def print_json(payload: Mapping[str, Any]) -> None:
    """One JSON object, with null for what is not a number."""
    sys.stdout.write(json_text(payload) + "\n")


def json_text(value: Any, indent: str = "") -> str:
    """Indented JSON, a list of no mappings on one line, with null for what is not a number."""
    if isinstance(value, Mapping) and value:
        inner = [f"{indent}  {json.dumps(key)}: {json_text(entry, indent + '  ')}" for key, entry in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value):
        inner = [f"{indent}  {json_text(entry, indent + '  ')}" for entry in value]
        return "[\n" + ",\n".join(inner) + f"\n{indent}]"
    return json.dumps(finite(value), allow_nan=False)


def print_facts(payload: Mapping[str, Any]) -> None:
    """A summary as two columns, nested keys joined by dots."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in _flat(payload):
        table.add_row(key, value)
    _stdout().print(table)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, names on the left, figures on the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*row)
    _stdout().print(table)


def _stdout() -> Console:
    """As wide as the terminal; wide enough for every table where there is none."""
    return Console(width=None if sys.stdout.isatty() else 200, markup=False)


@contextmanager
def progress(what: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """A progress bar on stderr; call what it yields with (what is being done, steps done since).

    Nothing is shown if `quiet` or if stderr is no terminal.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda description, steps: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda description, steps: bar.update(task, description=description, advance=steps)


def _fail(message: str, status: int) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(status)


def finite(value: Any) -> Any:
    """Plain JSON: lists for tuples, null for what is not a number."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(payload: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in payload.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(entry) for entry in value) + "]"
    return "-" if value is None else str(value)
