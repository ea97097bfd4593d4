"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from deeprec_env.errors import InputError


def check_writable(field: str, path: Path) -> None:
    """Raise ``InputError`` unless `path` can be created or replaced; called before long work starts."""
    if path.is_dir():
        raise InputError(field, str(path), "must be a file, not a folder")
    folder = Path(os.path.realpath(path)).parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise InputError(field, str(path), f"its folder {str(folder)!r} must exist")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise InputError(field, str(path), "must be a path that can be written")


def make_folder(field: str, path: Path) -> None:
    """Create the folder `path`, and those above it; ``InputError`` where none can be, or nothing can be put into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(field, str(path), f"must be a folder, there or to be made ({error.strerror})") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(field, str(path), "must be a folder that can be written to")


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a temporary text file beside `path`; it takes that name when the block ends well, else it is removed."""
    with replacing_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """As `replacing`, for those who write files by their name. A link stays one: what it points to is replaced."""
    path = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
