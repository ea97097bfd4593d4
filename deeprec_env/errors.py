"""The one error that bad input raises."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: names the field, the value it had and what is allowed.

    The command line prints it as one line and exits with status 2; from Python it is a ``ValueError``.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field}: got {value!r}; {allowed}".replace("\n", " "))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.allowed)
