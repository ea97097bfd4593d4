"""What commands print: tables and JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import shlex
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from deeprec_env.errors import MOST_SHOWN, InputError, WorkLost
from deeprec_env.extras import not_installed
from deeprec_env.layout import table_lines
from deeprec_env.progress import Progress as Tell
from deeprec_env.progress import Step

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
NOTHING_KEPT = "nothing is kept; the same command begins anew"

Kept = str | Callable[[], str]
"""What an interrupted command says: what is kept, and how to go on."""

_TYPED = ContextVar("typed", default="")


class Stopped(Exception):
    """A command was interrupted (Ctrl-C, SIGTERM); says what is kept, and how to go on."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM: work ends as it does on Ctrl-C, with its checkpoint."""


def application(description: str, *, completion: bool = False) -> typer.Typer:
    """A command-line application without boxes: `run` prints its errors.

    `completion`: with the options that install a shell's completion.
    """
    return typer.Typer(
        help=description,
        add_completion=completion,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run(app: typer.Typer, name: str, arguments: list[str] | None = None) -> None:
    """Run an application and exit; bad input is one line on stderr and exit status 2.

    SIGTERM ends the work as Ctrl-C does. What stdout's encoding lacks is written otherwise, never an error.
    """
    given = sys.argv[1:] if arguments is None else arguments
    typed = _TYPED.set(shlex.join([name, *given]))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_OTHERWISE)
    try:
        with _terminable():
            status = app(given, prog_name=name, standalone_mode=False)
        if status == INTERRUPTED:  # outside of any work that says more
            raise Stopped(NOTHING_KEPT)
        sys.exit(status if isinstance(status, int) else 0)
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        sys.exit(1)
    except InputError as error:
        _fail(str(error), 2)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # Typer has no public name for it
            typer.echo(error.format_message())
            sys.exit(0)
        _fail(_cut(error.format_message()), error.exit_code)
    except ModuleNotFoundError as error:
        missing = not_installed(error)
        if missing is None:
            raise
        _fail(str(missing), 2)
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}", 2)
    except WorkLost as lost:
        _fail(str(lost), 1)
    except Stopped as stopped:
        sys.stderr.write(f"interrupted: {stopped}\n")
        sys.exit(TERMINATED if isinstance(stopped.__cause__, _Terminated) else INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write(f"interrupted: {NOTHING_KEPT}\n")
        sys.exit(INTERRUPTED)
    finally:
        _TYPED.reset(typed)


def typed_line() -> str:
    """The command line that is being run, as it would be typed; empty from Python."""
    return _TYPED.get()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is an interrupt meanwhile; in the main thread alone, as others can't have it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_OTHERWISE = "deeprec-otherwise"
_SPELT = {"\N{PLUS-MINUS SIGN}": "+-", "\N{MULTIPLICATION SIGN}": "x", "\N{LESS-THAN OR EQUAL TO}": "<="}


def _spelt(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in signs that it has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SPELT.get(sign, sign.encode("ascii", "backslashreplace").decode()) for sign in text), error.end


codecs.register_error(_OTHERWISE, _spelt)


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
    facts = list(_flat(payload))
    names = max((len(key) for key, _ in facts), default=0)
    _write([f"{key.ljust(names)}  {value}".rstrip() for key, value in facts])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, names on the left, figures on the right; on a narrow terminal several, or a block for each row.

    Columns without content are left out, and nothing is cut.
    """
    width = _width()
    wrapped = textwrap.wrap(title, width or sys.maxsize, break_long_words=False, break_on_hyphens=False)
    _write([*(wrapped or [""]), *table_lines(columns, rows, width)])


def print_notes(notes: Mapping[str, str]) -> None:
    """What figures or columns are, below them: a line each, wrapped on a narrow terminal."""
    for name, words in notes.items():
        note = f"{name}: {words}"
        _write(textwrap.wrap(note, _width() or sys.maxsize, break_long_words=False, break_on_hyphens=False))


def _write(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _width() -> int | None:
    """Columns of the terminal, or as COLUMNS says; None where there is no terminal: as wide as it gets."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


@contextmanager
def progress(
    what: str, total: int | None, *, quiet: bool, kept: Kept = NOTHING_KEPT
) -> Iterator[Callable[[str, int], None]]:
    """A progress bar on stderr; call what it yields with (what is being done, steps done since).

    Nothing is shown if `quiet` or if stderr is no terminal. Interrupted, the command says what is `kept`, and how to
    go on.
    """
    with _bar(what, total, (MofNCompleteColumn(),), quiet, kept) as (bar, task):
        yield lambda description, steps: bar.update(task, description=description, advance=steps)


@contextmanager
def telling(what: str, *, quiet: bool, kept: Kept = NOTHING_KEPT) -> Iterator[Tell]:
    """As `progress`, for work that tells what it does in words, and how far it is (`Step`)."""
    with _bar(what, None, (TaskProgressColumn(),), quiet, kept) as (bar, task):
        done = 0.0

        def told(words: str) -> None:
            nonlocal done
            if isinstance(words, Step):
                done = max(done, words.share)
                bar.update(task, description=str(words), total=1.0, completed=done)
            else:
                bar.update(task, description=words)

        yield told


@contextmanager
def _bar(
    what: str, total: int | None, columns: Sequence[ProgressColumn], quiet: bool, kept: Kept
) -> Iterator[tuple[Progress, Any]]:
    console = Console(stderr=True)
    shown = (TextColumn("{task.description}"), BarColumn(), *columns, TimeElapsedColumn(), TimeRemainingColumn())
    silent = quiet or not console.is_terminal
    bar = Progress(*shown, console=console, transient=True, disable=silent)
    try:
        with nullcontext() if silent else bar:  # older rich ends a disabled bar with an empty line
            yield bar, bar.add_task(what, total=total)
    except KeyboardInterrupt as stop:
        raise Stopped(kept if isinstance(kept, str) else kept()) from stop
    except WorkLost as lost:
        raise WorkLost(f"{lost}; {kept if isinstance(kept, str) else kept()}") from None


def _fail(message: str, status: int) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(status)


def _cut(message: str) -> str:
    """A message without the middle of what was typed, where that is long."""
    return message if len(message) <= 2 * MOST_SHOWN else f"{message[:MOST_SHOWN]} ... {message[-MOST_SHOWN:]}"


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
