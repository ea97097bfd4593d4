"""Components: parts of a scenario that a user can add to (arrivals, sizes, latencies), each one class in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """Base of every part of a scenario: frozen, finite numbers only, unknown keys refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    allowed = ", ".join(cls.model_fields)
                    raise PydanticCustomError(
                        "unknown_key", "unknown key; allowed keys: {allowed}", {"key": str(key), "allowed": allowed}
                    )
        return data


class Component(Strict):
    """A part that is chosen by its `kind`; the other fields are that kind's parameters."""

    kind: str


C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """The kinds of one sort of component, by name. Adding one: ``@REGISTRY.register("name")`` over its class."""

    def __init__(self, base: type[C], what: str) -> None:
        self.base, self.what = base, what
        self._kinds: dict[str, type[C]] = {}

    def register(self, kind: str) -> Callable[[type[C]], type[C]]:
        """Class decorator that makes `kind` known; registering a name twice replaces it."""

        def add(component: type[C]) -> type[C]:
            self._kinds[kind] = component
            return component

        return add

    def kinds(self) -> list[str]:
        """The known kinds, sorted."""
        return sorted(self._kinds)

    def component(self, kind: str) -> type[C]:
        """The class of a known kind."""
        return self._kinds[kind]

    def build(self, data: Any, info: ValidationInfo) -> C:
        """The component that a mapping with a `kind` describes; a component passes through. A pydantic validator."""
        if isinstance(data, self.base):
            return data
        if not isinstance(data, Mapping) or "kind" not in data:
            raise ValueError(f"{self.what} must be a mapping with a kind: one of {', '.join(self.kinds())}")
        if not isinstance(data["kind"], str) or data["kind"] not in self._kinds:
            raise ValueError(f"kind {data['kind']!r} is not known; must be one of {', '.join(self.kinds())}")
        return self._kinds[data["kind"]].model_validate(dict(data), context=info.context)
