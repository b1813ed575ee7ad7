from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.graphs import build
from yocc.compiler.graph import to_proto
from yocc.fitting.activations import SHAPES, Activation, Substitute, fit_substitute, silu

ALL: tuple[Activation, ...] = ("hardswish", "gelu", "relu")
OPS = {"hardswish": "HardSwish", "gelu": "Gelu", "relu": "Relu"}


def drawn(spread: float = 2.0, channels: int = 3, samples: int = 2000) -> np.ndarray:
    random = np.random.default_rng(5)
    return random.normal(0.3, spread, (samples, channels)) * np.linspace(0.5, 1.5, channels)


def snr(found: Substitute, values: np.ndarray) -> np.ndarray:
    error = np.square(found(values) - silu(values)).mean(axis=0)
    return 10 * np.log10(silu(values).var(axis=0) / error)


@pytest.mark.parametrize("activation", ALL)
def test_functions_are_those_of_onnx(activation: Activation) -> None:
    values = np.linspace(-8, 8, 256, dtype=np.float32).reshape(1, 4, 8, 8)
    given = run(to_proto(build([f"n: y = {OPS[activation]}(x)"], {}, ["y"], opset=20)), {"x": values})["y"]
    np.testing.assert_allclose(SHAPES[activation].value(values.astype(np.float64)), given, atol=2e-6)


@pytest.mark.parametrize("activation", ALL)
def test_slopes_are_those_of_the_functions(activation: Activation) -> None:
    x, step = np.linspace(-6.01, 6.01, 400), 1e-4
    shape = SHAPES[activation]
    found = (shape.value(x + step) - shape.value(x - step)) / (2 * step)
    np.testing.assert_allclose(shape.slope(x), found, atol=2e-3)


@pytest.mark.parametrize(("activation", "least"), [("hardswish", 22), ("gelu", 35), ("relu", 14)])
@pytest.mark.parametrize("spread", [1.0, 2.0, 5.0])
def test_a_fit_is_as_near_as_these_functions_come(activation: Activation, least: float, spread: float) -> None:
    assert (snr(fit_substitute(drawn(spread), activation), drawn(spread)) > least).all()


@pytest.mark.parametrize("activation", ALL)
def test_no_neighbor_is_nearer(activation: Activation) -> None:
    """At a minimum, a step along any of the numbers makes the error larger, in each channel."""
    values = drawn()
    found = fit_substitute(values, activation)
    best = np.square(found(values) - silu(values)).mean(axis=0)
    for letter in "abcd":
        for step in (-0.02, 0.02):
            numbers = {each: getattr(found, each) for each in "abcd"}
            numbers[letter] = numbers[letter] + step
            moved = Substitute(activation, **numbers)
            assert (np.square(moved(values) - silu(values)).mean(axis=0) > best).all()


def test_channels_are_fitted_one_by_one_and_weights_count() -> None:
    values = drawn()
    together, alone = fit_substitute(values, "hardswish"), fit_substitute(values[:, 1:2], "hardswish")
    wanted = [getattr(alone, each)[0] for each in "abcd"]
    np.testing.assert_allclose([getattr(together, each)[1] for each in "abcd"], wanted, rtol=1e-3)
    weights = (values > 0).astype(np.float64)
    weighed = fit_substitute(values, "hardswish", weights=weights)
    wrong = [(weights * np.square(each(values) - silu(values))).sum() for each in (weighed, together)]
    assert wrong[0] < 0.9 * wrong[1]


@pytest.mark.parametrize("values", [np.zeros((50, 2)), np.full((50, 2), -40.0), np.full((50, 1), 1e4)])
@pytest.mark.parametrize("activation", ALL)
def test_values_that_say_little_leave_finite_numbers(activation: Activation, values: np.ndarray) -> None:
    found = fit_substitute(values, activation)
    assert all(np.isfinite(getattr(found, each)).all() for each in "abcd")
    assert (found.a > 0).all()
    assert (found.c > 0).all()


def test_the_same_values_give_the_same_numbers() -> None:
    first, second = (fit_substitute(drawn(), "hardswish") for _ in range(2))
    assert all(np.array_equal(getattr(first, each), getattr(second, each)) for each in "abcd")


def test_what_is_common_stays_and_channels_get_nearer() -> None:
    values = drawn()
    common = fit_substitute(values.reshape(-1, 1), "hardswish")
    found = fit_substitute(values, "hardswish", first=common)
    assert np.array_equal(found.c, common.c)
    assert np.array_equal(found.d, common.d)
    assert found.a.shape == found.b.shape == (3,)
    assert (snr(found, values) > snr(common, values)).all()
