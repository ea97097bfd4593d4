"""How far work has come: what is being done, in words, with the share of the whole that is done."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Told what is being done, now and then; a `Step` says too how far it is."""


class Step(str):
    """What is being done, and the share of the whole that was done before it, from 0 to 1."""

    share: float

    def __new__(cls, words: str, share: float) -> Step:
        """Words, before which `share` of the whole was done."""
        step = super().__new__(cls, words)
        step.share = share
        return step


def silent(what: str) -> None:
    """Progress that nobody looks at."""


def part(progress: Progress, begin: float, end: float, prefix: str = "") -> Progress:
    """A progress for the part of the whole between two shares; `prefix` comes before its words."""

    def told(what: str) -> None:
        within = what.share if isinstance(what, Step) else 0.0
        progress(Step(prefix + what, begin + (end - begin) * min(within, 1.0)))

    return told
