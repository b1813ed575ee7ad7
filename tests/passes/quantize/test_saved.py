from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.feeding import Pictures, context, drawn, run_pass, whole_graph
from tests.passes.graphs import build
from yocc.analysis.calibrate import collect
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import CalibrationError, OptionError
from yocc.passes.quantize import Quantize
from yocc.passes.quantize.placement import place
from yocc.passes.quantize.saved import Calibration, load_calibration, load_merged, network_digest, save_calibration

arrays = st.lists(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20).map(lambda some: np.array(some, np.float32)),
    max_size=3,
)


def network(seed: float = 1.0) -> Graph:
    graph = build(
        ["one: a = Conv(x, w)", "relu: b = Relu(a)", "two: y = Conv(b, v)"],
        {"w": np.full((4, 4, 1, 1), seed, np.float32), "v": (4, 4, 1, 1)},
        ["y"],
    )
    refresh(graph)
    return graph


def collected(graph: Graph, feeds: Pictures) -> Calibration:
    ctx = context(whole_graph(), feeds)
    tensors = [name for group in place(graph, ctx.target).groups for name in group]
    found = collect(graph, tensors, feeds, concrete_shapes(graph, {}), ctx)
    return Calibration(network_digest(graph), len(feeds), found)


def same(one: Calibration, other: Calibration) -> bool:
    return (
        (one.network, one.samples, one.statistics.keys()) == (other.network, other.samples, other.statistics.keys())
    ) and all(
        (mine.low, mine.high, mine.exponent) == (theirs.low, theirs.high, theirs.exponent)
        and (mine.pictures, mine.lows, mine.highs) == (theirs.pictures, theirs.lows, theirs.highs)
        and np.array_equal(mine.counts, theirs.counts)
        for mine, theirs in ((found, other.statistics[name]) for name, found in one.statistics.items())
    )


@settings(max_examples=25, deadline=None)
@given(parts=arrays)
def test_a_file_gives_back_what_was_written(parts: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> None:
    statistics = TensorStatistics()
    for part in parts:
        statistics.add(float(part.min()), float(part.max()), part)
    written = Calibration("0" * 64, len(parts), {"tensor/ä": statistics, "nothing seen": TensorStatistics()})
    path = tmp_path_factory.mktemp("saved") / "c.npz"
    save_calibration(written, path)
    assert same(load_calibration(path), written)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", np.array(np.inf)),
        ("samples", np.array(0)),
        ("counts", lambda counts: -1 - counts),
        ("counts", lambda counts: counts * 0.5),
        ("low", lambda low: low * np.nan),
        ("low", lambda low: low + np.inf),
        ("exponent", lambda exponent: exponent + 10**6),
        ("pictures", lambda pictures: pictures + 5),
        ("lows", np.array(["1e999999999"])),
        ("lows", np.array(["9" * 5000])),
        ("names", np.array([b"x"], dtype=object)),
    ],
)
def test_numbers_no_values_can_have_given_are_refused(field: str, value: Any, tmp_path: Path) -> None:
    statistics = TensorStatistics()
    statistics.add(-1.0, 1.0, np.linspace(-1, 1, 9))
    save_calibration(Calibration("0" * 64, 1, {"x": statistics}), tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as held:
        content = dict(held)
    np.savez(tmp_path / "t.npz", **{**content, field: value(content[field]) if callable(value) else value})
    with pytest.raises(CalibrationError, match=r"holds no calibration statistics|is damaged"):
        load_calibration(tmp_path / "t.npz")


def test_flipped_bits_in_the_compression_are_one_sentence(tmp_path: Path) -> None:
    save_calibration(Calibration("0" * 64, 1, {"x": TensorStatistics()}), tmp_path / "c.npz")
    data = bytearray((tmp_path / "c.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "c.npz") as archive:
        start = archive.getinfo("counts.npy").header_offset + 60
    data[start : start + 8] = b"\xff" * 8
    (tmp_path / "c.npz").write_bytes(data)
    with pytest.raises(CalibrationError, match="holds no calibration statistics"):
        load_calibration(tmp_path / "c.npz")


def test_statistics_replace_statistics_and_nothing_else(tmp_path: Path) -> None:
    found = Calibration("0" * 64, 1, {"x": TensorStatistics()})
    for _ in range(2):
        save_calibration(found, tmp_path / "c.npz")
    np.savez(tmp_path / "own.npz", network=np.zeros(3))
    with pytest.raises(OptionError, match="did not write it"):
        save_calibration(found, tmp_path / "own.npz")
    save_calibration(found, tmp_path / "own.npz", force=True)
    assert same(load_calibration(tmp_path / "own.npz"), found)


def test_files_of_two_machines_say_what_one_says_over_all_pictures(tmp_path: Path) -> None:
    graph = network()
    feeds = drawn(to_proto(graph), 7)
    for name, some in (("a", feeds.arrays[:3]), ("b", feeds.arrays[3:])):
        save_calibration(collected(graph, Pictures(some)), tmp_path / name)
    whole = collected(graph, feeds)
    tensors = whole.statistics.keys()
    assert same(load_merged([tmp_path / "a", tmp_path / "b"], graph, tensors), whole)
    assert same(load_merged([tmp_path / "b", tmp_path / "a"], graph, tensors), whole)


def test_quantizing_with_a_file_gives_the_same_bytes_as_with_its_pictures(tmp_path: Path) -> None:
    feeds = drawn(to_proto(network()), 4)
    save_calibration(collected(network(), feeds), tmp_path / "c.npz")

    def quantized(statistics: tuple[Path, ...]) -> tuple[bytes, PassContext]:
        graph = network()
        ctx = context(whole_graph(), feeds)
        ctx.statistics = statistics
        run_pass(Quantize(), graph, ctx)
        refresh(graph)
        return to_proto(graph).SerializeToString(deterministic=True), ctx

    with_file, ctx = quantized((tmp_path / "c.npz",))
    assert with_file == quantized(())[0]
    assert any("statistics of 4 pictures" in note.message for note in ctx.notes)


def test_biases_are_not_corrected_on_made_up_pictures(tmp_path: Path) -> None:
    feeds = drawn(to_proto(network()), 4)
    save_calibration(collected(network(), feeds), tmp_path / "c.npz")
    ctx = context(whole_graph(), feeds)
    ctx.statistics = (tmp_path / "c.npz",)
    feeds.synthetic = True
    graph = network()
    run_pass(Quantize(), graph, ctx)
    assert any("not corrected" in note.message for note in ctx.notes)


def test_the_same_statistics_give_the_same_bytes(tmp_path: Path) -> None:
    found = collected(network(), drawn(to_proto(network()), 2))
    for name in "ab":
        save_calibration(found, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_statistics_of_other_weights_are_refused(tmp_path: Path) -> None:
    found = collected(network(), drawn(to_proto(network()), 2))
    save_calibration(found, tmp_path / "c.npz")
    with pytest.raises(CalibrationError, match="those of network"):
        load_merged([tmp_path / "c.npz"], network(2.0), found.statistics.keys())
    with pytest.raises(CalibrationError, match="cannot be merged"):
        found.merge(dataclasses.replace(found, network="1" * 64))


def test_a_tensor_that_was_not_observed_is_named(tmp_path: Path) -> None:
    found = collected(network(), drawn(to_proto(network()), 2))
    save_calibration(found, tmp_path / "c.npz")
    with pytest.raises(CalibrationError, match="'elsewhere'") as caught:
        load_merged([tmp_path / "c.npz"], network(), ["elsewhere"])
    assert caught.value.node == "elsewhere"


def test_files_that_are_no_statistics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        load_calibration(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("no numbers")
    np.savez(tmp_path / "pictures.npz", images=np.zeros((2, 3)))
    with (tmp_path / "array.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    found = collected(network(), drawn(to_proto(network()), 2))
    save_calibration(found, tmp_path / "cut.npz")
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.npz", "pictures.npz", "array.npz", "cut.npz"):
        with pytest.raises(CalibrationError, match="holds no calibration statistics"):
            load_calibration(tmp_path / name)
