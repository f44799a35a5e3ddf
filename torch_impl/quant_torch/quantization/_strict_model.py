"""Base of everything a user configures: unknown keys are errors that name the closest key."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from quant_torch._suggest import closest


class StrictModel(BaseModel):
    """A pydantic model that refuses unknown keys and says which key was probably meant."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    LEFT_OUT: ClassVar[dict[str, str]] = {}
    """Keys of the system this package follows that are refused on purpose, and why."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        given = dict(given)
        for key, why in cls.LEFT_OUT.items():
            # A dump names every key; only one that is set asks for something.
            if given.pop(key, None) is not None:
                raise ValueError(f"{cls.__name__}: {key} is not supported: {why}")
        for key in given:
            if key not in cls.model_fields:
                raise ValueError(
                    f"{cls.__name__} has no key {key!r}{closest(key, cls.model_fields)}; "
                    f"there are {', '.join(cls.model_fields)}"
                )
        return given
