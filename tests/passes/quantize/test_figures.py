from __future__ import annotations

import numpy as np
import pytest

from yocc.analysis.quant_params import range_params
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.pipeline.target import TensorScheme
from yocc.passes.quantize.figures import BINS, tensor_figures

UINT8 = TensorScheme(signed=False, symmetric=False)


def _statistics(values: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    statistics.add(float(values.min()), float(values.max()), values)
    return statistics


def _figures(values: np.ndarray, low: float, high: float, transfer=lambda x: x) -> dict:
    return tensor_figures(_statistics(values), range_params(low, high, UINT8), UINT8, transfer, "")


def test_noise_is_that_of_rounding() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 200_000).astype(np.float32)
    found = _figures(values, 0.0, 1.0)
    scale = 1 / 255
    assert found["sqnr_db"] == pytest.approx(10 * np.log10((1 / 3) / (scale**2 / 12)), abs=0.3)
    assert found["clipped"] == 0.0
    assert (found["zero_point"], found["scale"]) == (0, pytest.approx(scale, rel=1e-6))
    assert found["quantized"] == [0.0, 1.0]


def test_noise_is_that_of_the_codes_themselves() -> None:
    values = np.random.default_rng(1).normal(0, 1, 100_000).astype(np.float32)
    found = _figures(values, -2.0, 2.0)
    params = range_params(-2.0, 2.0, UINT8)
    decoded = (params.quantize(values, UINT8).astype(np.float64) - float(params.zero_point)) * float(params.scale)
    exact = 10 * np.log10(np.square(values.astype(np.float64)).sum() / np.square(values - decoded).sum())
    assert found["sqnr_db"] == pytest.approx(exact, abs=0.1)
    assert found["clipped"] == pytest.approx(float((np.abs(values) > 2).mean()), abs=0.003)


def test_error_is_measured_behind_what_follows() -> None:
    values = np.random.default_rng(2).normal(0, 4, 50_000).astype(np.float32)
    plain = _figures(values, -1.0, 16.0)
    behind = _figures(values, -1.0, 16.0, lambda x: np.maximum(x, 0.0))
    assert behind["sqnr_db"] > plain["sqnr_db"] + 10


def test_histogram_holds_every_sample_from_low_to_high() -> None:
    values = np.array([-1.0, -1.0, 0.0, 3.0], np.float32)
    histogram = _figures(values, -1.0, 3.0)["histogram"]
    assert (len(histogram), sum(histogram)) == (BINS, 4)
    assert (histogram[0], histogram[BINS // 4], histogram[-1]) == (2, 1, 1)


def test_constant_tensors_lose_nothing_they_had() -> None:
    found = _figures(np.zeros(10, np.float32), 0.0, 0.0)
    assert (found["sqnr_db"], found["clipped"]) == (None, 0.0)
    assert sum(found["histogram"]) == 10
