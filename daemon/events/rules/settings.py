"""The model of a watch rule: an entry of [[rules]] in settings.toml, or a rule that a command added."""

import re
from datetime import time
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from store.collections.watch_lists import WatchList

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,48}$")]
Who = Literal["anyone", "unnamed", "named", "new", "friend"]

MAX_COOLDOWN_MINUTES = 7 * 24 * 60
"""As long as events are kept."""


class RuleSettings(BaseModel):
    """A visit matches if everything that is set fits."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    name: Name
    who: Who = "anyone"
    """`new` was never seen before; `unnamed` includes visitors who are not recognised."""
    list: str = ""
    """Only persons on this watch list."""
    not_seen_days: float = Field(default=0, ge=0, le=3650)
    """Only persons who were seen before, and not for this long. 0: all."""
    visits_a_day: int = Field(default=0, ge=0, le=10_000)
    """Only from the visit that exceeds this number on one day. 0: all."""
    outside: str = ""
    """Only outside of these hours, `HH:MM-HH:MM`, site time. Empty: always."""
    together_seconds: float = Field(default=0, ge=0, le=3600)
    """Only if another person was at the same camera within this time. 0: also alone."""
    cameras: tuple[str, ...] = ()
    """Empty: all."""
    cooldown_minutes: float = Field(default=10, ge=0, le=MAX_COOLDOWN_MINUTES)
    """After a match, the same person (without one: the same camera) does not match for this long."""
    enabled: bool = True

    @field_validator("outside")
    @classmethod
    def _are_hours(cls, hours: str) -> str:
        if hours and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", hours):
            raise ValueError("expected hours HH:MM-HH:MM, for example 07:00-19:30")
        if hours and hours[:5] == hours[6:]:
            raise ValueError("expected two different times: between equal ones is the whole day")
        return hours

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        conditions = (self.list, self.not_seen_days, self.visits_a_day, self.outside, self.together_seconds)
        if self.who == "anyone" and not any(conditions):
            raise ValueError(
                "expected a condition: who, list, not_seen_days, visits_a_day, outside or together_seconds"
            )
        if self.who == "new" and (self.not_seen_days or self.list):
            raise ValueError("a new person was never seen before and is on no list: this rule never matches")
        return self

    def is_outside(self, local: time) -> bool:
        """Whether this site time is outside of the hours, which may span midnight."""
        if not self.outside:
            return True
        start, end = (time.fromisoformat(part) for part in self.outside.split("-"))
        inside = start <= local < end if start < end else local >= start or local < end
        return not inside


class WatchListSettings(BaseModel):
    """What a watch list can be given. Its persons are added one by one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    name: Name
    note: str = Field(default="", max_length=1000)
    colour: str = Field(default="", pattern=r"^(#[0-9a-fA-F]{6})?$", description="#rrggbb")
    min_confidence: float = Field(default=0, ge=0, le=1)
    cameras: tuple[str, ...] = ()
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise ValueError("expected valid_from before valid_until")
        return self

    @property
    def watch_list(self) -> WatchList:
        return WatchList(**dict(self))
