"""Native code that a stranger's model can crash runs in a process of its own, and a crash becomes a sentence."""

import os

VARIABLE = "YOCC_CONTAINMENT"
"""Environment variable that turns containment off, for debuggers: `YOCC_CONTAINMENT=off`."""


def is_contained() -> bool:
    """Whether native code runs in processes of its own."""
    return os.environ.get(VARIABLE, "").lower() not in ("off", "0", "no", "false")
