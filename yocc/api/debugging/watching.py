"""What ends the process is found by doing the work in copies of it, which say what they are about to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from yocc.containment.forked import Crashed, run_forked
from yocc.errors import BackendError

T = TypeVar("T")
MOST_CRASHES = 8
"""Places of one diagnosis that may end the process."""
_SECONDS = 300.0
"""For one piece of a model."""


class Ended(BackendError):  # noqa: N818 # what happened
    """What was done ended the process: a crash of native code."""


@dataclass(frozen=True)
class Spot:
    """Something that may end the process.

    Attributes:
        kind: loading the model; running the original; a pass; running what it left; building and running for the
            target; looking closer at the guilty step.
        place: of the step.
    """

    kind: Literal["model", "original", "pass", "left", "target", "closer"]
    place: int = 0


@dataclass(frozen=True)
class Watch:
    """Does not do again what ended the process before.

    Attributes:
        ended: how, by spot.
        tell: told of each spot before it and of None after it.
        forks: whether crashes are looked for, in copies of this process.
    """

    ended: Mapping[Spot, str] = field(default_factory=dict)
    tell: Callable[[Spot | None], None] = lambda _: None
    forks: bool = False

    def enter(self, spot: Spot) -> None:
        """Before what may end the process.

        Raises:
            Ended: it did, before.
        """
        if spot in self.ended:
            raise Ended(f"it ends the process ({self.ended[spot]})")
        self.tell(spot)

    def leave(self) -> None:
        """After it."""
        self.tell(None)

    @contextmanager
    def at(self, spot: Spot) -> Iterator[None]:
        """Around what may end the process.

        Raises:
            Ended: it did, before.
        """
        self.enter(spot)
        try:
            yield
        finally:
            self.leave()


def watched(work: Callable[[Watch], T]) -> T:
    """Do something in copies of this process until one comes to an end.

    Args:
        work: what ends a copy is left out in the next one.

    Raises:
        Ended: copies end outside of all spots, or at too many.
    """
    ended: dict[Spot, str] = {}
    while True:
        last: list[Spot | None] = [None]
        try:
            found: T = run_forked(lambda tell: work(Watch(dict(ended), tell, forks=True)), last.append)
        except Crashed as crash:
            spot = last[-1]
            if spot is None or spot in ended or len(ended) == MOST_CRASHES:
                raise Ended(f"Looking for what ruins the model ended the process ({crash.how}).") from None
            ended[spot] = crash.how
        else:
            return found


def trial(work: Callable[[], object]) -> Exception | None:
    """What something fails with in a copy of this process: `Ended` where it ends it."""

    def silently(_: object) -> None:
        work()

    try:
        run_forked(silently, seconds=_SECONDS)
    except Crashed as crash:
        return Ended(f"it ends the process ({crash.how})")
    except Exception as error:  # whatever it raises is what is looked for
        return error
    return None
