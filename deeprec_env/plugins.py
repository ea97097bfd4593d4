"""What users add without touching the package: objects that an entry point, or `module:name`, refers to.

They are imported when they are used and not before: a broken one is in nobody's way until then.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.extras import not_installed


def plugin_names(group: str) -> list[str]:
    """The names that installed packages declare in an entry-point group, sorted."""
    return sorted(entry_points(group=group).names)


def is_plugin(group: str, name: str) -> bool:
    """Whether a name is one of the group's, or `module:name`."""
    return ":" in name or name in entry_points(group=group).names


def load_plugin(field: str, group: str, name: str, fits: Callable[[Any], bool], allowed: str) -> Any:
    """Import what a name of an entry-point group, or `module:name`, refers to; modules also from the working directory.

    Raises `InputError` for `field`, naming the entry point and its package, if it can't be imported, if two packages
    declare it, or if it does not fit; `allowed` says what would.
    """
    if ":" in name:
        with _working_directory():
            return _checked(field, name, "", lambda: pkgutil.resolve_name(name), fits, allowed)
    found = list(entry_points(group=group, name=name))
    if len(found) > 1:
        packages = ", ".join(_package(entry) for entry in found)
        raise InputError(field, name, f"entry point of {group} is declared by several packages ({packages}); keep one")
    entry = found[0]
    where = f"entry point {entry.value!r} of {group} in package {_package(entry)} "
    return _checked(field, name, where, entry.load, fits, allowed)


def takes(count: int) -> Callable[[Any], bool]:
    """Whether something can be called with `count` arguments, so that a class given for its factory is none."""

    def fits(found: Any) -> bool:
        if not callable(found):
            return False
        try:
            inspect.signature(found).bind(*range(count))
        except TypeError:
            return False
        except ValueError:  # a built-in one, which does not say
            return True
        return True

    return fits


def _checked(
    field: str, name: str, where: str, load: Callable[[], Any], fits: Callable[[Any], bool], allowed: str
) -> Any:
    try:
        found = load()
    except ModuleNotFoundError as error:
        raise not_installed(error) or InputError(
            field, name, f"{where}can't be imported (ModuleNotFoundError: {error})"
        ) from error
    except Exception as error:  # whatever a user's module raises when it is imported
        raise InputError(field, name, f"{where}can't be imported ({type(error).__name__}: {error})") from error
    if not fits(found):
        raise InputError(field, name, f"{where}must be {allowed}")
    return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


@contextmanager
def _working_directory() -> Iterator[None]:
    """Look for modules there too, as `python -m` does and an installed command does not.

    Last, so that it hides nothing installed, and only here, so that nothing that was not named is found there later.
    """
    folder = str(Path.cwd())
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have taken it out itself
            sys.path.remove(folder)
