"""The tutorials, executed: a page's blocks run in order, in an empty folder, and what they print stands below them.

It is done whenever the site is built, so that nothing that a tutorial shows is older than the site. A page is one
shell script: blocks of `bash` are its commands, a block of `python` is a script of its own, and a block with
`title="FILE"` is written to that file. A command that fails fails the build.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deeprec_env.progress import Progress, Step, silent

FOLDER = "tutorials"
"""Of the pages that are executed, below docs."""

LONGEST_S = 600.0
"""A page that takes longer has failed."""

FENCED = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[\w.-]+)")?\n(?P<code>.*?)^```\n', re.M | re.S)

_WARNED = re.compile(r"^/\S+:\d+: DeprecationWarning: .*\n(?: .*\n)?", re.M)
"""What Gymnasium says of earlier versions, whatever the environment asks of warnings: with a path of this machine."""

_END = "END_OF_BLOCK"
_BETWEEN = "\036"
"""ASCII's record separator, between the outputs of two blocks."""


class TutorialError(Exception):
    """A block of a tutorial failed."""


def write_tutorials(source: Path, tell: Progress = silent) -> None:
    """Replace the tutorials of a folder of pages by executed ones; `TutorialError` for the first that fails."""
    pages = sorted((source / FOLDER).glob("*.md"))
    for number, page in enumerate(pages):
        tell(Step(f"tutorial {page.stem}", number / len(pages)))
        page.write_text(executed(page.read_text(encoding="utf-8"), page.name), encoding="utf-8")


def executed(markdown: str, name: str) -> str:
    """A page with what its blocks print below them; `TutorialError`, with the block and its output, if one fails."""
    blocks = list(FENCED.finditer(markdown))
    with tempfile.TemporaryDirectory() as folder:
        outputs, status = _run([_as_shell(block) for block in blocks], Path(folder))
    if status != 0:
        failed = blocks[len(outputs) - 1]["code"]
        raise TutorialError(f"{name}: status {status} of\n{failed}\n{outputs[-1]}")
    pieces, begin = [], 0
    for block, output in zip(blocks, outputs, strict=True):
        shown = _WARNED.sub("", output).strip("\n")
        pieces += [markdown[begin : block.end()], f"\n```text\n{shown}\n```\n" if shown else ""]
        begin = block.end()
    return "".join([*pieces, markdown[begin:]])


def _as_shell(block: re.Match[str]) -> str:
    """What a block is in the page's script."""
    if block["title"]:
        return f"cat > {block['title']} <<'{_END}'\n{block['code']}{_END}\n"
    if block["language"] == "python":
        return f"python - <<'{_END}'\n{block['code']}{_END}\n"
    return block["code"] if block["language"] == "bash" else ":\n"


def _run(parts: list[str], folder: Path) -> tuple[list[str], int]:
    """Outputs of the parts of a script, as far as it came, and its exit status."""
    script = "set -eo pipefail\n" + f"printf '{_BETWEEN}'\n".join(parts)
    with tempfile.TemporaryFile() as written:  # no pipe: a service that is left running would keep it open
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # whatever the page has left running
            shell.wait()
        written.seek(0)
        text = written.read().decode("utf-8", "replace")
    return text.split(_BETWEEN), status


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """This Python's commands first; wide tables, no colours, no warnings that name the folders of this machine."""
    commands = f"{Path(sys.executable).parent}{os.pathsep}{ours.get('PATH', os.defpath)}"
    plain = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    return {**ours, "PATH": commands, **plain}
