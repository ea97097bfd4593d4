"""How commands print and stop: layouts that fit, signs that every terminal has, interrupts that say what is kept."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import console
from deeprec_env.layout import GAP, table_lines
from deeprec_env.progress import Progress, Step, part

words = st.text("abc0123456789.[]", min_size=1, max_size=14)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(20, 90), st.data())
def test_no_cell_is_ever_cut(columns: int, rows: int, width: int, data: st.DataObject) -> None:
    header = data.draw(st.lists(words, min_size=columns, max_size=columns, unique=True))
    cells = data.draw(st.lists(st.lists(words, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    lines = table_lines(header, cells, width)
    found = [text for line in lines for text in re.split(" +", line.strip())]
    for row in cells:
        for text in row:
            assert text in found
    assert lines == [line.rstrip() for line in lines]
    assert max(map(len, lines)) <= max(width, 2 * len(GAP) + 28)


def test_a_table_goes_on_below_where_it_is_too_wide() -> None:
    columns, rows = ("policy", "setting", "p95 ms"), [["grid-day", "B 64", "9.99"], ["grid-capacity", "B 384", "19.41"]]
    assert table_lines(columns, rows) == [
        "policy         setting  p95 ms",
        "grid-day          B 64    9.99",
        "grid-capacity    B 384   19.41",
    ]
    assert table_lines(columns, rows, 24) == [
        "policy         setting",
        "grid-day          B 64",
        "grid-capacity    B 384",
        "",
        "policy         p95 ms",
        "grid-day         9.99",
        "grid-capacity   19.41",
    ]
    assert table_lines(columns, rows, 20) == [
        *("grid-day", "  setting  B 64", "  p95 ms   9.99"),
        *("grid-capacity", "  setting  B 384", "  p95 ms   19.41"),
    ]


def test_columns_without_content_are_left_out() -> None:
    assert table_lines(("policy", "score", "p95"), [["a", "-", "1"], ["b", "-", "2"]]) == [
        *("policy  p95", "a         1", "b         2")
    ]
    assert table_lines(("policy", "score"), []) == ["policy  score"]


def test_what_an_encoding_lacks_is_spelt_otherwise() -> None:
    code = (
        "import typer; from deeprec_env import console; app = console.application('x'); "
        "app.command()(lambda: console.print_table('t', ['a', 'b'], [['x', '1 \\u00b1 2 \\u00fc']])); "
        "console.run(app, 'x', [])"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "1 +- 2 \\xfc" in ended.stdout


def test_shares_of_parts() -> None:
    told: list[str] = []
    progress: Progress = told.append
    inner = part(part(progress, 0.5, 1.0, "outer: "), 0.0, 0.5)
    for what in ("begin", Step("half", 0.5), Step("end", 1.0)):
        inner(what)
    assert told == ["outer: begin", "outer: half", "outer: end"]
    assert [what.share for what in told if isinstance(what, Step)] == [0.5, 0.625, 0.75]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_has_an_end_and_a_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    for name, value in (("COLUMNS", "100"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.telling("tune", quiet=False) as update:
        for tenth in range(10):
            update(Step(f"batch size {2**tenth}", tenth / 10))
            time.sleep(0.02)
    shown = terminal.getvalue()
    assert "batch size 512" in shown
    assert "90%" in shown
    assert shown.count("0:00:0") > 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that begins the tests in the background lets them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("shown", [console.telling, lambda *args, **named: console.progress(*args, None, **named)])
def test_a_signal_says_what_is_kept(
    capsys: pytest.CaptureFixture[str], sent: signal.Signals, status: int, shown: Callable[..., object]
) -> None:
    def work() -> None:
        with shown("work", quiet=True, kept="all is kept in x"):  # type: ignore[attr-defined]
            os.kill(os.getpid(), sent)
            time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    app = console.application("x")
    app.command()(work)
    with pytest.raises(SystemExit) as stopped:
        console.run(app, "x", [])
    assert stopped.value.code == status
    assert capsys.readouterr().err == "interrupted: all is kept in x\n"
    assert signal.getsignal(signal.SIGTERM) == before
