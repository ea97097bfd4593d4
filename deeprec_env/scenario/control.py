"""What is controlled: the settings in force at the start, and the ladders that a controller chooses from."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from deeprec_env.scenario.bounds import Count, Positive
from deeprec_env.scenario.component import Sparse
from deeprec_env.scenario.setting import OFFLOADS, ORDERS, PREDICTED, SPLITS
from deeprec_env.scenario.threshold import NEVER, AnyThreshold

BATCH_SIZES = (8, 16, 25, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1000)
THRESHOLDS = (1, 64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 900, None)
ADMITS = (0.6, 0.7, 0.8, 0.9, 1.0, None)
"""The ladder of admission limits, in targets; None: no limit."""


def _no_limit(value: Any) -> Any:
    """Infinity and the words of `NEVER` stand for no limit, as they do for thresholds."""
    never = value == math.inf if isinstance(value, float) else isinstance(value, str) and value.lower() in NEVER
    return None if never else value


Split = Literal["full", "even"]
Order = Literal["fcfs", "small-first", "least-slack"]
Offload = Literal["threshold", "predicted"]
AnyLimit = Annotated[Positive | None, BeforeValidator(_no_limit)]
assert (*SPLITS, *ORDERS, *OFFLOADS) == (*Split.__args__, *Order.__args__, *Offload.__args__)  # type: ignore[attr-defined]

FURTHER = ("split", "order", "offload", "admit_ms")
"""The controls that came after batch size, threshold and plan; a scenario uses one if its `Control` says so."""

FURTHER_LADDERS = {"split": "splits", "order": "orders", "offload": "offloads", "admit_ms": "admits_ms"}
"""The names of their ladders."""


class Control(Sparse):
    """The settings in force at the start, and the ladders from which an agent chooses, once every `interval_s`.

    `plan`: name or index of one of the scenario's plans. The ladder `offloads` holds thresholds and "predicted". What
    is neither in force at the start nor on a ladder of the further controls can't be chosen.
    """

    later: ClassVar[tuple[str, ...]] = ("plan", *FURTHER, *FURTHER_LADDERS.values())

    batch_size: Count = 25
    threshold: AnyThreshold = None
    plan: int | str = 0
    split: Split = "full"
    order: Order = "fcfs"
    offload: Offload = "threshold"
    admit_ms: AnyLimit = Field(default=None, validate_default=False)
    batch_sizes: tuple[Count, ...] = BATCH_SIZES
    thresholds: tuple[AnyThreshold, ...] | None = Field(default=None, validate_default=False)
    splits: tuple[Split, ...] | None = None
    orders: tuple[Order, ...] | None = None
    offloads: tuple[Literal["predicted"] | AnyThreshold, ...] | None = Field(default=None, validate_default=False)
    admits_ms: tuple[AnyLimit, ...] | None = Field(default=None, validate_default=False)
    interval_s: Positive = 0.1

    @model_validator(mode="after")
    def _ladders_hold_something(self) -> Self:
        for name in ("batch_sizes", "thresholds", *FURTHER_LADDERS.values()):
            ladder = getattr(self, name)
            if ladder is not None and (not ladder or len(set(ladder)) < len(ladder)):
                raise ValueError(f"{name} must hold at least one value, each once")
        return self

    def further_ladder(self, control: str) -> tuple[Any, ...]:
        """What may be chosen of one of the `FURTHER` controls: its ladder, else what is in force at the start."""
        given = getattr(self, FURTHER_LADDERS[control])
        if given is not None:
            return tuple(given)
        return (self.threshold if control == "offload" and self.offload != PREDICTED else getattr(self, control),)

    def further_values(self, control: str) -> set[Any]:
        """What can be in force of one of the `FURTHER` controls: at the start, or chosen from its ladder."""
        ladder = getattr(self, FURTHER_LADDERS[control]) or ()
        if control == "offload":
            ladder = tuple(PREDICTED if level == PREDICTED else "threshold" for level in ladder)
        return {getattr(self, control), *ladder}

    def uses(self, control: str) -> bool:
        """Whether anything but the default of one of the `FURTHER` controls can be in force."""
        return self.further_values(control) != {type(self).model_fields[control].default}
