"""A fleet: groups of like nodes behind a router."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, field_serializer, field_validator, model_validator

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import HIGHEST, NonNegative
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.control import Control
from deeprec_env.scenario.pools import Node
from deeprec_env.scenario.router import AnyRouter, Members
from deeprec_env.scenario.shipped import preset_text
from deeprec_env.yaml_text import parse_yaml

MOST_NODES = 10**6
"""Bound of a fleet's nodes: engines hold each one's servers."""

_OF_A_NODE = ("node", "pipeline", "plans", "quality_table", "sub_batches", "control")
"""What a group takes from a preset: workload and target are the fleet's."""


class Group(Strict):
    """Nodes that are alike: `count` of them, each a `node` or that of a `preset`.

    `control` holds the settings of every node; what it does not name is the preset's, or the default. A node takes
    `start_s` to come up. `weight` is that of one node, for routers that look at it.
    """

    name: Annotated[str, Field(min_length=1)]
    count: Annotated[int, Field(ge=1, le=MOST_NODES)]
    node: Node | None = None
    preset: str | None = None
    control: Control | None = None
    start_s: NonNegative = 30.0
    weight: Annotated[float, Field(ge=0, le=HIGHEST)] = 1.0

    @field_validator("preset")
    @classmethod
    def _is_shipped(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                preset_text(name)
            except InputError as error:
                raise ValueError(error.allowed) from None
        return name

    @model_validator(mode="after")
    def _is_something(self) -> Self:
        if (self.node is None) == (self.preset is None):
            raise ValueError("needs exactly one of node and preset")
        return self

    @field_serializer("control")
    def _as_given(self, control: Control | None) -> dict[str, Any] | None:
        """No more than was given, since the rest may be the preset's."""
        return None if control is None else control.model_dump(mode="json", exclude_unset=True)

    def described(self) -> dict[str, Any]:
        """The part of a scenario that says what one of the nodes is."""
        data: dict[str, Any] = {"node": self.node}
        if self.preset is not None:
            text = parse_yaml(preset_text(self.preset), "preset", self.preset)
            data = {name: text[name] for name in _OF_A_NODE if name in text}
        if self.control is not None:
            given = {name: getattr(self.control, name) for name in self.control.model_fields_set}
            data["control"] = {**data.get("control", {}), **given}
        return data


class Fleet(Strict):
    """Groups of nodes, numbered in their order, and what names the node of each query (rule 18).

    A query and its answer take `network_ms` each way. What the router knows of the nodes is `probe_age_ms` old.
    """

    router: AnyRouter
    network_ms: NonNegative = 0.0
    probe_age_ms: NonNegative = 0.0
    groups: tuple[Group, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = [group.name for group in self.groups]
        if not names or len(set(names)) < len(names):
            raise InputError("groups", names, "must hold at least one group, each with its own name")
        if self.members.size > MOST_NODES:
            raise InputError("groups", self.members.size, f"must have at most {MOST_NODES} nodes together")
        self.router.check(self.members)
        return self

    @cached_property
    def members(self) -> Members:
        """All nodes."""
        groups = self.groups
        return Members(
            tuple(group.name for group in groups),
            tuple(group.count for group in groups),
            tuple(group.weight for group in groups),
        )

    def check_day(self, day_s: float) -> None:
        """Raise `InputError` if the router may know no more than what is older than a day."""
        for name, age_s in (("probe_age_ms", self.probe_age_s), ("router", self.router.most_s)):
            if age_s > day_s:
                allowed = f"must not be longer than the day, {day_s * 1e3:.6g} ms"
                raise InputError(f"fleet.{name}", age_s * 1e3, allowed)

    @property
    def network_s(self) -> float:
        """One way, in seconds."""
        return self.network_ms * 1e-3

    @property
    def probe_age_s(self) -> float:
        """In seconds."""
        return self.probe_age_ms * 1e-3
