from __future__ import annotations

import pytest

from tests.backend_template import BackendContract
from tests.runtime.ncnn.running import needs_ncnn
from yocc.runtime.backend import Backend
from yocc.runtime.ncnn.backend import NcnnBackend


@needs_ncnn
class TestNcnnBackend(BackendContract):
    tolerance = 1e-4

    @pytest.fixture
    def backend(self) -> Backend:
        return NcnnBackend()
