"""What a case of a detector is: a sentence, what happened, and what must be said of it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.detectors.world import World

ALERT, NOTICE, QUIET = "alert", "notice", "quiet"


@dataclass(frozen=True, slots=True)
class Case:
    """A story made by hand. `expect`: an alert; a notice and no alert; or nothing at all."""

    sentence: str
    tell: Callable[[World], None]
    expect: str
    host: str = ""
    target: str | None = None
    signature_id: int | None = None
    within_s: float | None = None  # from the story's second 0 to the first alert


@dataclass(frozen=True, slots=True)
class Recorded:
    """A real capture: `sample` of the project, or `shared` ("group/file") where that is there."""

    sentence: str
    expect: str
    sample: str = ""
    shared: str = ""
    host: str = ""
    target: str | None = None
    signature_id: int | None = None
