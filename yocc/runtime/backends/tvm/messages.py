"""What TVM's errors say."""

from __future__ import annotations


def one_sentence(error: Exception) -> str:
    """The line of a TVM error that states the problem, without its stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    checks = [line for line in lines if "Check failed" in line]
    return (checks or lines or [type(error).__name__])[0].rpartition("Check failed: ")[2].rstrip(". :")
