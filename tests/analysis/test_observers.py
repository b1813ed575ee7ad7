from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.compiler.pipeline.plugins import install
from yocc.analysis.observers import KEPT, OBSERVERS, mse, observer_named, percentile
from yocc.analysis.quant_params import range_params
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.pipeline.target import TensorScheme
from yocc.errors import OptionError

UNSIGNED = TensorScheme(signed=False, symmetric=False)
SIGNED = TensorScheme()
MIDDLE = TensorScheme(signed=False, symmetric=True)
SCHEMES = {"unsigned": UNSIGNED, "signed": SIGNED, "middle": MIDDLE}


def as_is(values: np.ndarray) -> np.ndarray:
    return values


def silu(values: np.ndarray) -> np.ndarray:
    return values / (1 + np.exp(-values))


def seen(values: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    values = values.astype(np.float32)
    statistics.add(float(values.min()), float(values.max()), values)
    return statistics


def normal(count: int = 50_000) -> np.ndarray:
    return np.random.default_rng(0).normal(size=count)


def quantized_error(
    values: np.ndarray, low: float, high: float, scheme: TensorScheme, transfer: Callable = as_is
) -> float:
    """Mean squared error behind the transfer, by the codes that are really used."""
    values = values.astype(np.float32)
    params = range_params(low, high, scheme)
    back = (params.quantize(values, scheme).astype(np.float64) - params.zero_point) * params.scale
    return float(np.square(transfer(back) - transfer(values.astype(np.float64))).mean())


def test_average_is_the_mean_of_each_pictures_extremes() -> None:
    statistics = TensorStatistics()
    for low, high in ((-1.0, 2.0), (-3.0, 10.0), (-2.0, 3.0)):
        statistics.add(low, high, np.array([low, high], np.float32))
    assert OBSERVERS["average"](statistics, UNSIGNED, as_is) == (-2.0, 5.0)


def test_average_does_not_depend_on_the_order_of_pictures_of_very_different_magnitude() -> None:
    pictures = [(-1e-8, 1e8), (-1e8, 1e-8), (-0.1, 0.3), (-1e20, 1e20), (0.0, 1.0)]
    found = set()
    for shift in range(len(pictures)):
        statistics = TensorStatistics()
        for low, high in pictures[shift:] + pictures[:shift]:
            statistics.add(low, high, np.array([low, high], np.float32))
        found.add(OBSERVERS["average"](statistics, UNSIGNED, as_is))
    assert len(found) == 1


def test_average_of_nothing_is_nothing() -> None:
    assert OBSERVERS["average"](TensorStatistics(), UNSIGNED, as_is) == (np.inf, -np.inf)


def test_minmax_is_everything_seen() -> None:
    values = normal()
    found = OBSERVERS["minmax"](seen(values), UNSIGNED, as_is)
    assert found == (np.float32(values.min()), np.float32(values.max()))


def test_percentile_keeps_the_stated_share() -> None:
    values = normal()
    low, high = percentile(seen(values), UNSIGNED, as_is)
    expected = np.quantile(values, [(1 - KEPT) / 2, 1 - (1 - KEPT) / 2])
    np.testing.assert_allclose([low, high], expected, atol=0.05)
    inside = ((values >= low) & (values <= high)).mean()
    assert KEPT <= inside < 1


def test_percentile_cuts_an_outlier_that_minmax_keeps() -> None:
    values = np.append(np.random.default_rng(1).uniform(0, 1, 50_000), 100.0)
    assert percentile(seen(values), UNSIGNED, as_is)[1] <= 1.1
    assert OBSERVERS["minmax"](seen(values), UNSIGNED, as_is)[1] == 100.0


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_mse_keeps_uniform_values_whole(scheme: TensorScheme) -> None:
    values = np.random.default_rng(2).uniform(-1, 1, 50_000)
    low, high = mse(seen(values), scheme, as_is)
    np.testing.assert_allclose([low, high], [-1, 1], atol=0.03)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_mse_clips_a_heavy_tail_and_gains_by_it(scheme: TensorScheme) -> None:
    scheme = dataclasses.replace(scheme, bits=4)
    values = np.random.default_rng(3).laplace(size=50_000)
    statistics = seen(values)
    low, high = mse(statistics, scheme, as_is)
    reach = max(-statistics.low, statistics.high)
    assert max(-low, high) < 0.95 * reach
    assert quantized_error(values, low, high, scheme) < quantized_error(values, statistics.low, statistics.high, scheme)


def test_mse_clips_the_negative_tail_that_silu_flattens() -> None:
    values = np.random.default_rng(4).uniform(-20, 5, 50_000)
    low, high = mse(seen(values), UNSIGNED, silu)
    assert -12 < low < -3
    assert high == pytest.approx(5, abs=0.2)
    assert mse(seen(values), UNSIGNED, as_is)[0] == pytest.approx(-20, abs=0.5)
    assert quantized_error(values, low, high, UNSIGNED, silu) < 0.5 * quantized_error(values, -20, 5, UNSIGNED, silu)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@given(values=hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e4, 1e4, width=32)))
def test_the_range_holds_within_what_was_seen(name: str, scheme: TensorScheme, values: np.ndarray) -> None:
    statistics = seen(values)
    low, high = OBSERVERS[name](statistics, scheme, as_is)
    reach = max(abs(statistics.low), abs(statistics.high))
    lowest, highest = min(statistics.low, 0), max(statistics.high, 0)
    if scheme.symmetric and name in ("mse", "entropy"):
        lowest, highest = -reach, reach
    assert lowest <= low <= high <= highest


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_nothing_seen_still_gives_a_usable_scale(name: str, scheme: TensorScheme) -> None:
    low, high = OBSERVERS[name](TensorStatistics(), scheme, as_is)
    assert float(range_params(low, high, scheme).scale) > 0


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-30])
def test_a_constant_tensor_is_quantized_as_itself(name: str, scheme: TensorScheme, value: float) -> None:
    low, high = OBSERVERS[name](seen(np.full(9, value)), scheme, as_is)
    error = quantized_error(np.full(9, value), low, high, scheme)
    assert error <= (abs(value) / 100) ** 2 + 1e-30


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_one_sided_values_use_one_side(name: str, sign: int) -> None:
    values = sign * np.abs(normal())
    low, high = OBSERVERS[name](seen(values), UNSIGNED, as_is)
    params = range_params(low, high, UNSIGNED)
    assert params.zero_point == (0 if sign > 0 else 255)
    assert quantized_error(values, low, high, UNSIGNED) < 1e-3


@pytest.mark.parametrize("scheme", [SIGNED, MIDDLE], ids=["signed", "middle"])
def test_symmetric_schemes_measure_the_error_of_the_codes_they_get(scheme: TensorScheme) -> None:
    """Few bits, where a wrong step size would show: no other symmetric range is much better than the one found."""
    coarse = TensorScheme(bits=4, signed=scheme.signed, symmetric=True)
    values = normal()
    statistics = seen(values)
    found = quantized_error(values, *mse(statistics, coarse, as_is), coarse)
    reach = max(-statistics.low, statistics.high)

    def weighted(bound: float) -> float:
        cut = np.where(np.abs(values) > bound, 8.0, 1.0)
        params = range_params(-bound, bound, coarse)
        back = (params.quantize(values.astype(np.float32), coarse).astype(float) - params.zero_point) * params.scale
        return float((cut * np.square(back - values)).mean())

    best = min(np.linspace(reach / 48, reach, 48), key=weighted)
    assert mse(statistics, coarse, as_is)[1] == pytest.approx(best, rel=0.05)
    assert found <= quantized_error(values, -reach, reach, coarse)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_entropy_cuts_an_outlier_and_keeps_the_bulk(scheme: TensorScheme) -> None:
    values = np.append(normal(), 100.0)
    low, high = OBSERVERS["entropy"](seen(values), scheme, as_is)
    assert 2.5 < high < 50
    assert low < -0.5 if scheme is UNSIGNED else low == -high


def test_entropy_keeps_uniform_values_nearly_whole() -> None:
    values = np.linspace(0.0, 1.0, 50_000)
    low, high = OBSERVERS["entropy"](seen(values), UNSIGNED, as_is)
    assert low == 0.0
    assert high > 0.9


def test_entropy_of_two_shards_is_that_of_their_union() -> None:
    values = normal()
    merged = seen(values[:20_000]).merge(seen(values[20_000:]))
    assert OBSERVERS["entropy"](merged, SIGNED, as_is) == OBSERVERS["entropy"](seen(values), SIGNED, as_is)


PLUGIN = """
from yocc.analysis.observers import RangeObserver

class Half(RangeObserver):
    name = "half"
    summary = "half of what was seen"
    def __call__(self, statistics, scheme, transfer):
        return statistics.low / 2, statistics.high / 2
"""


def test_another_package_brings_an_observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "half-observer", {"half": "half_module:Half"}, {"half_module": PLUGIN}, "yocc.observers")
    values = np.linspace(-2, 6, 50)
    assert observer_named("half")(seen(values), UNSIGNED, as_is) == (-1.0, 3.0)


def test_an_unknown_observer_gets_a_hint() -> None:
    with pytest.raises(OptionError, match="no observer 'output'") as caught:
        observer_named("output", ["outputs"])
    assert caught.value.hint == "Did you mean 'outputs'?"
