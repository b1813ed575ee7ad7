from __future__ import annotations

import dataclasses

import pytest

from yocc.compiler.pipeline.target import Reject, Target, TensorScheme
from yocc.errors import OptionError


@pytest.mark.parametrize(
    ("scheme", "lowest", "highest"),
    [
        (TensorScheme(bits=8, signed=True, symmetric=True), -127, 127),
        (TensorScheme(bits=8, signed=True, symmetric=False), -128, 127),
        (TensorScheme(bits=8, signed=False, symmetric=False), 0, 255),
        (TensorScheme(bits=8, signed=False, symmetric=True), 0, 255),
        (TensorScheme(bits=4, signed=True, symmetric=True), -7, 7),
        (TensorScheme(bits=2, signed=True, symmetric=False), -2, 1),
        (TensorScheme(bits=16, signed=False, symmetric=False), 0, 65535),
    ],
)
def test_range_of_codes(scheme: TensorScheme, lowest: int, highest: int) -> None:
    assert (scheme.lowest, scheme.highest) == (lowest, highest)


@pytest.mark.parametrize("bits", [-8, 0, 1, 17, 32])
def test_impossible_bits_are_refused_with_the_number(bits: int) -> None:
    with pytest.raises(OptionError, match=f"{bits} bits"):
        TensorScheme(bits=bits)


@pytest.mark.parametrize("multiple", [0, -8])
def test_an_impossible_channel_multiple_is_refused(multiple: int) -> None:
    with pytest.raises(OptionError, match=f"channel multiple of {multiple}"):
        Target("x", channel_multiple=multiple)


def test_targets_are_facts() -> None:
    target = Target("x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.opset = 20
    assert target == Target("x")
    assert len({target, Target("x"), Target("y")}) == 2
    assert target.weights.per_channel
    assert not target.activations.per_channel
    assert Reject("conv", "no room").hint == ""


def test_last_layers_in_int8_need_float_outputs() -> None:
    with pytest.raises(OptionError, match="float outputs"):
        Target("t", placement="whole_graph", last_layers="int8")
    assert Target("t", placement="inputs", last_layers="int8").last_layers == "int8"


def test_additions_can_only_be_quantized_where_inputs_are() -> None:
    with pytest.raises(OptionError, match="additions anyway"):
        Target("t", placement="whole_graph", added_inputs="quantize")


@pytest.mark.parametrize("count", [0, -16])
def test_an_impossible_least_count_of_channels_is_refused(count: int) -> None:
    with pytest.raises(OptionError, match=f"{count} channels"):
        Target("t", least_channels=count)


def test_in_the_whole_graph_nothing_reads_floats_past_the_codes() -> None:
    with pytest.raises(OptionError, match="every reader gets quantized"):
        Target("t", placement="whole_graph", other_readers="float")
