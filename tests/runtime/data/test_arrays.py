from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yocc.errors import CalibrationError
from yocc.runtime.data.arrays import open_arrays
from yocc.runtime.data.preprocess import InputSpec

PIXELS = InputSpec("pixels", (1, 3, 4, 4), np.dtype(np.float32))
TOKENS = InputSpec("tokens", (1, 5), np.dtype(np.int64))
VALUES = np.random.default_rng(0).standard_normal((6, 3, 4, 4)).astype(np.float32)


def saved(folder: Path, compressed: bool = False, **arrays: np.ndarray) -> Path:
    path = folder / "samples.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_several_inputs_sample_by_sample(tmp_path: Path, compressed: bool) -> None:
    tokens = np.arange(30).reshape(6, 5)
    arrays = open_arrays(saved(tmp_path, compressed, tokens=tokens, pixels=VALUES, unused=VALUES), [PIXELS, TOKENS])
    assert len(arrays) == 6
    for _ in range(2):
        samples = list(arrays.read([0, 2, 5]))
        assert [list(sample) for sample in samples] == [["pixels", "tokens"]] * 3
        for pick, sample in zip([0, 2, 5], samples, strict=True):
            assert sample["pixels"].tobytes() == VALUES[pick : pick + 1].tobytes()
            assert sample["tokens"].tolist() == tokens[pick : pick + 1].tolist()


def test_one_array_of_any_name_feeds_one_input(tmp_path: Path) -> None:
    (sample,) = open_arrays(saved(tmp_path, whatever=VALUES), [PIXELS]).read([3])
    assert sample["pixels"].tolist() == VALUES[3:4].tolist()


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, order: str) -> None:
    path = tmp_path / "samples.npy"
    np.save(path, np.asarray(VALUES, order=order))
    samples = list(open_arrays(path, [PIXELS]).read([1, 4]))
    assert [sample["pixels"].tolist() for sample in samples] == [VALUES[1:2].tolist(), VALUES[4:5].tolist()]


def test_another_precision_is_converted(tmp_path: Path) -> None:
    (sample,) = open_arrays(saved(tmp_path, pixels=VALUES.astype(np.float64)), [PIXELS]).read([0])
    assert sample["pixels"].dtype == np.float32


def test_a_batch_repeats_a_sample_that_is_a_batch_of_one(tmp_path: Path) -> None:
    batch = InputSpec("pixels", (2, 3, 4, 4), np.dtype(np.float32))
    (sample,) = open_arrays(saved(tmp_path, pixels=VALUES[:, None]), [batch]).read([0])
    np.testing.assert_array_equal(sample["pixels"], np.stack([VALUES[0]] * 2))


def test_a_batch_repeats_the_sample(tmp_path: Path) -> None:
    batch = InputSpec("pixels", (2, 3, 4, 4), np.dtype(np.float32))
    (sample,) = open_arrays(saved(tmp_path, pixels=VALUES), [batch]).read([0])
    assert sample["pixels"].shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": VALUES, "b": VALUES}, r"no array for the input 'pixels'; its arrays are 'a', 'b'"),
        ({}, "its arrays are none"),
        ({"pixels": VALUES[:, :, :3]}, r"\[6, 3, 3, 4\], the input 'pixels' needs \[samples, 3, 4, 4\]"),
        ({"pixels": VALUES[0]}, "has shape"),
        ({"pixels": np.float32(1)}, "has shape"),
        ({"pixels": VALUES[:0]}, "no samples"),
        ({"pixels": VALUES.astype(np.uint8)}, "is uint8, the input 'pixels' takes float32"),
        ({"pixels": VALUES.astype(complex)}, "is complex128"),
        ({"pixels": np.full((2, 3, 4, 4), None)}, "Python objects"),
        ({"pixels": np.full((2, 3, 4, 4), "x")}, "takes float32"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        open_arrays(saved(tmp_path, **arrays), [PIXELS])


def test_lengths_must_agree(tmp_path: Path) -> None:
    path = saved(tmp_path, pixels=VALUES, tokens=np.zeros((4, 5), np.int64))
    with pytest.raises(CalibrationError, match="'pixels' 6, 'tokens' 4"):
        open_arrays(path, [PIXELS, TOKENS])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_named(tmp_path: Path, value: float) -> None:
    values = VALUES.copy()
    values[4, 0, 0, 0] = value
    arrays = open_arrays(saved(tmp_path, pixels=values), [PIXELS])
    assert len(list(arrays.read([0, 1, 2, 3]))) == 4
    with pytest.raises(CalibrationError, match="Sample 4 of 'pixels'"):
        list(arrays.read([3, 4]))


@pytest.mark.parametrize("name", ["samples.npz", "samples.npy"])
def test_not_an_array_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no array at all, only some text")
    with pytest.raises(CalibrationError, match="not a"):
        open_arrays(path, [PIXELS])


def test_a_file_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "samples.npy"
    np.save(path, VALUES)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CalibrationError, match="holds fewer values"):
        list(open_arrays(path, [PIXELS]).read([0, 5]))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", [200, 40_000])
def test_a_damaged_file(tmp_path: Path, compressed: bool, place: int) -> None:
    values = np.random.default_rng(0).standard_normal((500, 3, 4, 4)).astype(np.float32)
    path = saved(tmp_path, compressed, pixels=values)
    data = bytearray(path.read_bytes())
    data[place : place + 20] = bytes(20)
    path.write_bytes(bytes(data))
    with pytest.raises(CalibrationError, match=r"samples\.npz"):
        list(open_arrays(path, [PIXELS]).read(range(500)))


STATE = InputSpec("state", (2, 1, 8), np.dtype(np.float32))
SCALAR = InputSpec("gain", (), np.dtype(np.float32))


def test_scalars_and_states_are_taken_whole(tmp_path: Path) -> None:
    state = np.random.default_rng(1).standard_normal((6, 2, 1, 8)).astype(np.float32)
    gain = np.arange(6, dtype=np.float32)
    arrays = open_arrays(saved(tmp_path, pixels=VALUES, state=state, gain=gain), [PIXELS, STATE, SCALAR])
    for pick, sample in zip([1, 5], arrays.read([1, 5]), strict=True):
        assert {name: values.shape for name, values in sample.items()} == {
            "pixels": (1, 3, 4, 4),
            "state": (2, 1, 8),
            "gain": (),
        }
        assert sample["state"].tobytes() == state[pick].tobytes()
        assert sample["gain"] == gain[pick]


@pytest.mark.parametrize("order", ["C", "F"])
def test_whole_batches_are_taken_as_they_are(tmp_path: Path, order: str) -> None:
    batch = InputSpec("pixels", (2, 3, 4, 4), np.dtype(np.float32))
    values = VALUES.reshape(3, 2, 3, 4, 4)
    (sample,) = open_arrays(saved(tmp_path, pixels=np.asarray(values, order=order)), [batch]).read([1])
    assert sample["pixels"].tolist() == values[1].tolist()


@pytest.mark.parametrize("gain", [False, True])
def test_equally_long_leading_axes_are_the_batch(tmp_path: Path, gain: bool) -> None:
    specs = [InputSpec(name, (2, 3, 4, 4), np.dtype(np.float32)) for name in ("a", "b")]
    arrays = {"a": VALUES, "b": VALUES.reshape(3, 2, 3, 4, 4).repeat(2, axis=0)}
    if gain:
        specs, arrays = [*specs, SCALAR], {**arrays, "gain": np.ones(6, np.float32)}
    (sample,) = open_arrays(saved(tmp_path, **arrays), specs).read([4])
    assert sample["a"].tolist() == VALUES[[4, 4]].tolist()
    assert sample["b"].tolist() == VALUES[4:6].tolist()


def test_a_state_is_not_repeated_along_what_is_no_batch(tmp_path: Path) -> None:
    path = saved(tmp_path, pixels=VALUES, state=np.zeros((6, 1, 8), np.float32))
    with pytest.raises(CalibrationError, match=r"\[6, 1, 8\], the input 'state' needs \[samples, 2, 1, 8\]\."):
        open_arrays(path, [PIXELS, STATE])
    with pytest.raises(CalibrationError, match=r"shape \[\], the input 'gain' needs \[samples\]"):
        open_arrays(saved(tmp_path, gain=np.float32(1)), [SCALAR])


@pytest.mark.parametrize("shape", [(10**12, 3, 4, 4), (-1, 3, 4, 4)])
def test_a_header_that_says_more_than_there_is(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "samples.npy"
    np.save(path, VALUES)
    data = path.read_bytes()
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    path.write_bytes(data[:10] + header + data[128:])
    with pytest.raises(CalibrationError, match="fewer values than its shape"):
        open_arrays(path, [PIXELS])


def test_an_encrypted_archive(tmp_path: Path) -> None:
    path = saved(tmp_path, pixels=VALUES)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CalibrationError, match="encrypted"):
        open_arrays(path, [PIXELS])


def test_text_feeds_an_input_of_strings(tmp_path: Path) -> None:
    spec = InputSpec("words", (2,), np.dtype(np.object_))
    path = saved(tmp_path, words=np.array([["a", "bcd"], ["ef", "g"]]))
    assert [sample["words"].tolist() for sample in open_arrays(path, [spec]).read((0, 1))] == [
        ["a", "bcd"],
        ["ef", "g"],
    ]
