from __future__ import annotations

import numpy as np
import pytest

from yocc.errors import BackendError
from yocc.runtime.backends.ncnn.format import Data, Layer, Network, read_network, write_bin, write_param

NETWORK = Network(
    (
        Layer("Input", "x", (), ("x",), {0: 8, 1: 6, 2: 3}),
        Layer(
            "Convolution",
            "first",
            ("x",),
            ("a",),
            {0: 2, 1: 1, 5: 1, 6: 6, 8: 102, 9: 2, 10: (0.1,)},
            (
                Data("int8", np.array([1, -2, 3, -127, 127, 0], np.int8)),
                Data("floats", np.array([0.5, -0.5], np.float32)),
                Data("floats", np.array([10.0, 20.0], np.float32)),
                Data("floats", np.array([127.0], np.float32)),
                Data("floats", np.array([64.0], np.float32)),
            ),
        ),
        Layer(
            "ConvolutionDepthWise",
            "second",
            ("a",),
            ("b",),
            {0: 2, 1: 1, 6: 2, 7: 2},
            (Data("fp16", np.array([6e-8, 1.0], np.float16)),),
        ),
        Layer("Crop", "third", ("b",), ("y",), {9: (1,), 10: (-233,), 11: (1,)}),
    )
)
TEXT = """7767517
4 4
Input                    x                        0 1 x 0=8 1=6 2=3
Convolution              first                    1 1 x a 0=2 1=1 5=1 6=6 8=102 9=2 -23310=1,0.1
ConvolutionDepthWise     second                   1 1 a b 0=2 1=1 6=2 7=2
Crop                     third                    1 1 b y -23309=1,1 -23310=1,-233 -23311=1,1
"""


def test_param_is_what_ncnn_documents() -> None:
    assert write_param(NETWORK) == TEXT


def test_bin_is_tagged_padded_and_in_order() -> None:
    content = write_bin(NETWORK)
    assert content[:4] == bytes.fromhex("384B0D00")  # 0x000D4B38, int8
    assert content[4:12] == bytes([1, 254, 3, 129, 127, 0, 0, 0])  # padded to 8
    np.testing.assert_array_equal(np.frombuffer(content[12:36], "<f4"), [0.5, -0.5, 10, 20, 127, 64])
    assert content[36:40] == bytes.fromhex("476B3001")  # 0x01306B47, fp16
    np.testing.assert_array_equal(np.frombuffer(content[40:44], "<f2"), np.array([6e-8, 1.0], np.float16))
    assert len(content) == 44


def test_subnormal_halves_are_kept() -> None:
    network = read_network(TEXT, write_bin(NETWORK))
    assert network.layers[2].data[0].values[0] == np.float16(6e-8) > 0


def test_both_files_read_back_byte_for_byte() -> None:
    network = read_network(TEXT, write_bin(NETWORK))
    assert write_param(network) == TEXT
    assert write_bin(network) == write_bin(NETWORK)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7767517\n",
        TEXT.replace("7767517", "7767518"),
        TEXT.replace("4 4", "5 4"),
        TEXT.replace("4 4", "4 3"),
        TEXT[: len(TEXT) // 2],
        TEXT[:-1],
        TEXT.replace("0=8", "zero=8"),
        TEXT.replace("first                    1 1", "first                    one 1"),
    ],
)
def test_broken_param_is_refused(text: str) -> None:
    with pytest.raises(BackendError, match="broken or cut off"):
        read_network(text, write_bin(NETWORK))


def test_weights_cut_off_are_refused() -> None:
    with pytest.raises(BackendError, match="cut off"):
        read_network(TEXT, write_bin(NETWORK)[:-1])


def test_weights_left_over_are_refused() -> None:
    with pytest.raises(BackendError, match="longer"):
        read_network(TEXT, write_bin(NETWORK) + b"\0\0\0\0")


def test_unknown_coding_of_weights_is_refused() -> None:
    with pytest.raises(BackendError, match="0xdeadbeef"):
        read_network(TEXT, b"\xef\xbe\xad\xde" + write_bin(NETWORK)[4:])


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((Layer("Input", "a", (), ("x",)), Layer("Input", "a", (), ("y",))), "layers are called 'a'"),
        ((Layer("Input", "a", (), ("x",)), Layer("Input", "b", (), ("x",))), "write the blob 'x'"),
        ((Layer("ReLU", "a", ("x",), ("y",)), Layer("ReLU", "b", ("x",), ("z",))), "read the blob 'x'"),
    ],
)
def test_names_and_blobs_belong_to_one_layer(layers: tuple[Layer, ...], words: str) -> None:
    with pytest.raises(BackendError, match=words):
        Network(layers)
