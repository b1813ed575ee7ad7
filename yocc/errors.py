"""The error tree: a `YoccError` is what the user can fix, an `InternalError` is a bug in yocc."""

from __future__ import annotations


class YoccError(Exception):
    """Something the user can fix, stated in one sentence.

    Args:
        message: what is wrong, with the value that is wrong.
        hint: a remedy, one sentence; empty if the message states it.
        node: the node or tensor concerned, empty if there is none.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", node: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node

    def __str__(self) -> str:
        where = f" (at {self.node!r})" if self.node else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{self.message}{where}{hint}"


class OptionError(YoccError):
    """An invalid option, pipeline spec or argument."""

    exit_code = 2


class ModelError(YoccError):
    """The model file is broken, unsafe, or not something yocc can read."""

    exit_code = 3


class CalibrationError(YoccError):
    """The pictures or arrays to calibrate or score with are missing or unusable."""

    exit_code = 4


class PassError(YoccError):
    """A pass cannot do what was asked of it on this graph."""

    exit_code = 5


class BackendError(YoccError):
    """A target cannot accept, build or run the model."""

    exit_code = 6


class BackendUnavailable(BackendError):  # noqa: N818 # a state of the machine, named as users see it
    """A target's package is not installed; the hint names the extra to install."""


class OutputError(YoccError):
    """The result could not be written; nothing half-written is left behind."""

    exit_code = 7


class GateError(YoccError):
    """The result is written and valid, but a gate fails."""

    exit_code = 8


class MeasurementError(YoccError):
    """The result is written and valid, but something that was asked for could not be measured."""

    exit_code = 9


class AlarmError(YoccError):
    """The result is written and valid, but of little use, and `--strict` was given."""

    exit_code = 10


class InternalError(Exception):
    """A broken invariant. Deliberately not a `YoccError`: it is a bug to report, not something the user can fix."""
