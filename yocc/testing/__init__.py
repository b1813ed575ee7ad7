"""Tests that come with yocc for packages that extend it; they need pytest.

`BackendContract` holds what every backend must do. A test class derives from it and gives it the fixture `backend`.
"""

from __future__ import annotations

import pytest

# Before the import, so that failures show what was compared.
pytest.register_assert_rewrite("yocc.testing.backend")

from yocc.testing.backend import BackendContract  # noqa: E402
from yocc.testing.models import tiny_feed, tiny_model  # noqa: E402

__all__ = ["BackendContract", "tiny_feed", "tiny_model"]
