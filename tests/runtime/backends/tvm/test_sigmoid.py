from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.backends.tvm.needs import needs_tvm


@needs_tvm
def test_sigmoid_is_exact_to_the_last_digits_and_never_overflows() -> None:
    import tvm
    from tvm import te

    from yocc.runtime.backends.tvm import sigmoid

    inputs = np.concatenate([np.linspace(-100, 100, 4001), [-3e38, 3e38, 0.0]]).astype(np.float32)
    data = te.placeholder((inputs.size,), "float32", name="data")
    function = te.create_prim_func([data, sigmoid._sigmoid(data)])
    module = tvm.compile(tvm.IRModule({"main": function}), target="llvm")
    result = tvm.runtime.tensor(np.zeros_like(inputs))
    module["main"](tvm.runtime.tensor(inputs), result)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-inputs.astype(np.float64)))
    assert np.abs(result.numpy() - exact).max() < 2e-7
    near = np.abs(inputs) < 80
    assert result.numpy()[near] == pytest.approx(exact[near], rel=1e-6)
