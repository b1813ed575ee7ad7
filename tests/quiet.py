"""Crashes on purpose without the stack that pytest prints of them."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """For modules that import it."""
    was = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if was:
        faulthandler.enable(sys.__stderr__)
