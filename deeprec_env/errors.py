"""The one error that bad input raises."""

from __future__ import annotations

from typing import Any

MOST_SHOWN = 200
"""Characters of a value that a message shows: what is longer is cut, its length said."""


class InputError(ValueError):
    """Bad input: names the field, the value it had and what is allowed.

    The command line prints it as one line and exits with status 2; from Python it is a ``ValueError``.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field}: got {shown(value)}; {allowed}".replace("\n", " "))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.allowed)


class NotInstalled(InputError):
    """What was asked for needs a module that one of this package's extras brings."""

    def __init__(self, module: str, extra: str) -> None:
        self.field, self.value, self.allowed = module, None, f"pip install 'deeprec-env[{extra}]'"
        self._given = (module, extra)
        ValueError.__init__(self, f"{module} is not installed: {self.allowed}")

    def __reduce__(self) -> Any:
        return type(self), self._given


class WorkLost(RuntimeError):
    """Those that did the work have gone; what was done is kept. The command line exits with status 1 and one line."""


def shown(value: object) -> str:
    """A value as messages show it: its `repr`, of a long one the beginning."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; lists in lists in lists
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)} characters)"
