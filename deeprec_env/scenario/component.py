"""Components: parts of a scenario that a user can add to (arrivals, sizes, latencies), each one class in one file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from deeprec_env.errors import InputError
from deeprec_env.plugins import is_plugin, load_plugin, plugin_names


class Strict(BaseModel):
    """Base of every part of a scenario: frozen, finite numbers only, no truth values for them, unknown keys refused."""

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
                if _has_truth_value(data[key]) and not _takes_truth_values(cls.model_fields[key].annotation):
                    raise InputError(key, data[key], "must not be a truth value, which would count as 1 or 0")
        return data


def _has_truth_value(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_has_truth_value, value)))


def _takes_truth_values(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_truth_values, get_args(annotation)))


class Sparse(Strict):
    """A part some of whose keys came `later`: at their defaults they are left out of dumps.

    So the text of a scenario that does without them, and what is remembered under its hash, stay as they were.
    """

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _leave_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for name in self.later:
            if name in data and getattr(self, name) == type(self).model_fields[name].default:
                del data[name]
        return data


class Component(Strict):
    """A part that is chosen by its `kind`; the other fields are that kind's parameters."""

    kind: str

    @classmethod
    def is_ours(cls) -> bool:
        """Whether the kind is this package's: what others' draw and answer is checked where it enters."""
        return cls.__module__.startswith("deeprec_env.")

    @property
    def files(self) -> Mapping[str, Path | Traversable]:
        """The files that it, or a part of it, reads, by the names they have in it: results carry their digests."""
        return {}


C = TypeVar("C", bound=Component)


class Registry(Generic[C]):
    """The kinds of one sort of component, by name. Adding one: ``@REGISTRY.register("name")`` over its class.

    Installed packages add theirs by an entry point of `group`: the kind is its name, the class what it refers to. A
    kind `module:Class` is that class.
    """

    def __init__(self, base: type[C], what: str, group: str) -> None:
        self.base, self.what, self.group = base, what, group
        self._kinds: dict[str, type[C]] = {}

    def register(self, kind: str) -> Callable[[type[C]], type[C]]:
        """Class decorator that makes `kind` known; registering a name twice replaces it."""

        def add(component: type[C]) -> type[C]:
            self._kinds[kind] = component
            return component

        return add

    def kinds(self) -> list[str]:
        """The known kinds, sorted; those of other packages are not imported for it."""
        return sorted({*self._kinds, *plugin_names(self.group)})

    def component(self, kind: str) -> type[C]:
        """The class of a kind; `ValueError` if there is none, `InputError` if another package's is broken."""
        if kind in self._kinds:
            return self._kinds[kind]
        if not is_plugin(self.group, kind):
            raise ValueError(f"kind {kind!r} is not known; must be one of {', '.join(self.kinds())}")
        allowed = f"a class derived from {self.base.__name__}, with all its methods"
        return load_plugin("kind", self.group, kind, self._fits, allowed)  # type: ignore[no-any-return]

    def build(self, data: Any, info: ValidationInfo) -> C:
        """The component that a mapping with a `kind` describes; a component passes through. A pydantic validator."""
        if isinstance(data, self.base):
            return data
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise ValueError(f"{self.what} must be a mapping with a kind: one of {', '.join(self.kinds())}")
        return self.component(data["kind"]).model_validate(dict(data), context=info.context)

    def _fits(self, found: Any) -> bool:
        return isinstance(found, type) and issubclass(found, self.base) and not inspect.isabstract(found)
