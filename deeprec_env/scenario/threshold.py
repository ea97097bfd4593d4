"""How an offload threshold is read and written, whoever gives it: a file, the command line, Python, a CSV."""

from __future__ import annotations

import math
import operator
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import MOST_ITEMS, Threshold

NEVER = ("never", "null", "none", "inf", "-")
"""Words for the threshold that no query reaches, in any letters; beside them None and infinity."""

ALLOWED = f"must be a whole number of at least 1 and at most {MOST_ITEMS}, or null for never"


def read_threshold(value: Any) -> Threshold:
    """The threshold that a number, a text or a word of `NEVER` stands for; `InputError` if it is none."""
    if value is None or (isinstance(value, float) and value == math.inf):
        return None
    given = value
    if isinstance(value, str):
        text = value.strip().lower()
        if text in NEVER:
            return None
        given = int(text) if text.isdecimal() and len(text) < 20 else text
    try:
        number = -1 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        number = -1
    if not 1 <= number <= MOST_ITEMS:
        raise InputError("threshold", value, ALLOWED)
    return number


def _of_file(value: Any) -> Any:
    """As `read_threshold`; what is neither a word nor infinity is left to the type, whose errors name the place."""
    never = value == math.inf if isinstance(value, float) else isinstance(value, str) and value.lower() in NEVER
    return None if never else value


AnyThreshold = Annotated[
    Threshold,
    BeforeValidator(_of_file),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_ITEMS}, {"enum": list(NEVER)}, {"type": "null"}]}
    ),
]
"""A threshold in a scenario file."""
