"""The base of every recipe format: strict types, no unknown keys, frozen once read."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wukongctl.errors import UsageError

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]


class Mistake(NamedTuple):
    """What keys of one section disagree about, and the key, from that section, to point at."""

    message: str
    path: tuple[str | int, ...]
    hint: str | None = None
    others: tuple[tuple[str | int, ...], ...] = ()
    """Other keys of the disagreement: one that was overridden, or the only one written, is pointed at."""


class Mistakes(ValueError):
    """Raised by validators over several keys; loading makes a problem, with its line, of each."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(dict.fromkeys(mistakes))
        super().__init__("\n".join(mistake.message for mistake in self.mistakes))


class Mismatch(UsageError):
    """Keys of a valid recipe that do not fit its data; `loading.locate_problems` finds their lines."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(mistakes[0].message, hint=mistakes[0].hint)
        self.mistakes = tuple(mistakes)


class Spec(BaseModel):
    """One section of a recipe. Attribute docstrings become the descriptions in the JSON Schema."""

    # Most commands validate few of the sections they import: build a validator on first use.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    def _mistakes(self) -> Iterable[Mistake]:
        """What keys of this section disagree about, each key being right by itself."""
        return ()

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        if mistakes := tuple(self._mistakes()):
            raise Mistakes(mistakes)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Every key with its resolved value, as plain JSON types."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`, for files the tool wrote itself."""
        return cls.model_validate_json(json.dumps(data))

    def digest(self) -> str:
        """SHA-256 of the resolved content: equal for equal meaning, whatever the file's layout."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()
