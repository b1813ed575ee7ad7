"""The error tree: what the user can mend is a `YoccError`, what only we can mend is an `InternalError`."""

from __future__ import annotations


class YoccError(Exception):
    """Something the user can mend, said in one sentence.

    Args:
        message: what is wrong, with the value that is wrong.
        hint: what to do about it, one sentence; empty when the message says it.
        node: the node or tensor concerned, empty when none is.
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
    """An option, a pipeline spec or an argument that cannot be meant."""

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
    """A target cannot take, build or run the model."""

    exit_code = 6


class BackendUnavailable(BackendError):  # noqa: N818 # a state of the machine, named as users see it
    """A target's package is not installed; the hint names the extra to install."""


class OutputError(YoccError):
    """The result could not be written; nothing half-written is left behind."""

    exit_code = 7


class GateError(YoccError):
    """The result is written and sound, and does not keep to what was asked of it."""

    exit_code = 8


class MeasurementError(YoccError):
    """The result is written and sound, and something that was asked for could not be measured on it."""

    exit_code = 9


class InternalError(Exception):
    """An invariant of ours is broken. Deliberately not a `YoccError`: it is a bug to report, not a thing to mend."""
