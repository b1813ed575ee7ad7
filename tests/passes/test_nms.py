from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.outputs import DETECTORS, assert_same, changed, facts, found, picture, run
from tests.runtime.backends.test_openvino import needs_openvino
from yocc.compiler.graph import load, save, to_proto
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.outputs import output_passes
from yocc.errors import OptionError
from yocc.models.families.profile import OutputLayout, Suppression
from yocc.passes import Fp16, Nms, RawOutputs, ResizeInput
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING, selection_of

STEP = Nms(confidence=0.002, overlap=0.45, most=20)
every_detector = pytest.mark.parametrize("name", DETECTORS)


@pytest.mark.slow
@every_detector
def test_detections_are_those_of_the_original(name: str) -> None:
    model, before, after = changed(DETECTORS[name](), STEP)
    selection = selection_of(after)
    assert (after.layout, after.suppression) == (OutputLayout.DETECTIONS, Suppression(0.002, 0.45, 20))
    for seed in range(2):
        feed = picture(before, seed)
        outputs = run(model, feed)
        wanted = found(run(DETECTORS[name](), feed), before, selection)
        assert len(wanted) > 2
        assert_same(found(outputs, after, selection), wanted)


@pytest.mark.slow
@every_detector
def test_outputs_are_named_and_typed_as_exporters_do_and_padded_with_zeros(name: str) -> None:
    model, before, _ = changed(DETECTORS[name](), replace(STEP, most=100))
    outputs = run(model, picture(before))
    assert {key: (value.shape, value.dtype.name) for key, value in outputs.items()} == {
        "num_dets": ((1, 1), "int32"),
        "det_boxes": ((1, 100, 4), "float32"),
        "det_scores": ((1, 100), "float32"),
        "det_classes": ((1, 100), "int32"),
    }
    count = int(outputs["num_dets"][0, 0])
    scores = outputs["det_scores"][0]
    assert 0 < count < 100
    assert (np.diff(scores) <= 0).all()
    assert (scores[:count] > 0.002).all()
    assert not any(outputs[key][0, count:].any() for key in ("det_boxes", "det_scores", "det_classes"))


def test_the_number_of_detections_is_limited() -> None:
    model, before, _ = changed(DETECTORS["yolox"](), replace(STEP, most=3))
    outputs = run(model, picture(before))
    assert outputs["num_dets"].tolist() == [[3]]
    assert (outputs["det_scores"] > 0).all()


@pytest.mark.slow
def test_nothing_above_the_confidence() -> None:
    model, before, _ = changed(DETECTORS["yolov8"](), replace(STEP, confidence=1.0))
    outputs = run(model, picture(before))
    assert not any(array.any() for array in outputs.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5n", "yolov5n_raw_op12", "yolox_nano"])
def test_detections_of_real_models_in_real_pictures(
    name: str, shared_model: Callable[[str], Path], shared_data: Path
) -> None:
    original = onnx.load(shared_model(name))
    model, before, after = changed(original, Nms())
    for file in ("bus.jpg", "zidane.jpg"):
        feed, _ = prepare(read_picture(shared_data / "images" / file), before.preprocess, before.input)
        wanted = found(run(original, feed), before, SHOWING)
        assert len(wanted) > 1
        assert_same(found(run(model, feed), after, SHOWING), wanted, pixels=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5", "yolov8", "yolox raw"])
def test_batch(name: str) -> None:
    graph = load(DETECTORS[name]())
    profile, outputs = facts(graph)
    shapes = {profile.input_name: (2, *profile.input.shape[1:])}
    context = replace(
        PassContext.for_model(graph, Target("any"), input_shapes=shapes, cells=profile.cells), outputs=outputs
    )
    graph, _ = Pipeline((ResizeInput(batch="2"), STEP)).run(graph, context)
    pair = [picture(profile, seed) for seed in (1, 2)]
    given = run(to_proto(graph), np.concatenate(pair))
    alone, _, after = changed(DETECTORS[name](), STEP)
    for place, feed in enumerate(pair):
        own = {key: array[place : place + 1] for key, array in given.items()}
        assert_same(found(own, after, selection_of(after)), found(run(alone, feed), after, selection_of(after)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5", "yolov5 raw"])
def test_rows_of_cells_give_the_same_candidates(name: str) -> None:
    model, before, _ = changed(DETECTORS[name](), STEP, Target("any", rows_of_cells="always"))
    plain, *_ = changed(DETECTORS[name](), STEP)
    moved = [onnx.helper.get_node_attr_value(node, "perm") for node in model.graph.node if node.op_type == "Transpose"]
    assert moved.count([0, 2, 3, 1]) == 3
    feed = picture(before)
    for key, value in run(plain, feed).items():
        np.testing.assert_allclose(run(model, feed)[key], value, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_rows_of_cells_of_several_pictures() -> None:
    target = Target("any", rows_of_cells="always")
    graph = load(DETECTORS["yolov5"]())
    profile, outputs = facts(graph)
    shapes = {profile.input_name: (2, *profile.input.shape[1:])}
    context = replace(PassContext.for_model(graph, target, input_shapes=shapes, cells=profile.cells), outputs=outputs)
    graph, _ = Pipeline((ResizeInput(batch="2"), STEP)).run(graph, context)
    pair = [picture(profile, seed) for seed in (1, 2)]
    given = run(to_proto(graph), np.concatenate(pair))
    alone, *_ = changed(DETECTORS["yolov5"](), STEP)
    for place, feed in enumerate(pair):
        for key, value in run(alone, feed).items():
            np.testing.assert_allclose(given[key][place : place + 1], value, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5", "yolov8"])
def test_half_precision_is_decoded_in_float(name: str) -> None:
    graph = load(DETECTORS[name]())
    profile, outputs = facts(graph)
    context = replace(PassContext.for_model(graph, Target("any")), outputs=outputs)
    graph, _ = Pipeline((Fp16(), STEP)).run(graph, context)
    given = run(to_proto(graph), picture(profile))
    assert given["det_scores"].dtype == np.float32
    assert given["num_dets"][0, 0] > 2


@pytest.mark.slow
def test_open_size_suppresses_behind_the_decoded_output() -> None:
    model = DETECTORS["yolov8"]()
    graph = load(model)
    profile, outputs = facts(graph)
    context = replace(PassContext.for_model(graph, Target("any")), outputs=replace(outputs, heads=None))
    graph, _ = Pipeline((STEP,)).run(graph, context)
    feed = picture(profile)
    _, _, after = changed(model, STEP)
    selection = selection_of(after)
    assert_same(found(run(to_proto(graph), feed), after, selection), found(run(model, feed), profile, selection))


@pytest.mark.slow
@needs_openvino
@every_detector
def test_openvino_finds_the_same(name: str, tmp_path: Path) -> None:
    import openvino

    model, before, after = changed(DETECTORS[name](), STEP)
    save(load(model), tmp_path / "model.onnx")
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(str(tmp_path / "model.onnx")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    feed = picture(before)
    result = compiled([feed])
    given = {name: result[name] for name in after.outputs}
    selection = selection_of(after)
    assert_same(found(given, after, selection), found(run(model, feed), after, selection), pixels=0.01)


def _context(name: str, target: Target) -> tuple[onnx.ModelProto, PassContext]:
    model = DETECTORS[name]()
    graph = load(model)
    return model, replace(PassContext.for_model(graph, target), outputs=facts(graph)[1])


@pytest.mark.slow
def test_other_networks_are_refused() -> None:
    graph = load(DETECTORS["yolov5"]())
    with pytest.raises(OptionError, match="NMS takes a detector of a known family"):
        STEP.run(graph, PassContext.for_model(graph, Target("any")))


def test_targets_without_it_are_refused() -> None:
    model, context = _context("yolov5", Target("bare", suppression="none"))
    with pytest.raises(OptionError, match="'bare' cannot run NMS"):
        STEP.run(load(model), context)


def test_unknown_raw_heads_are_refused() -> None:
    model, context = _context("yolox raw", Target("any"))
    assert context.outputs is not None
    unknown = replace(context, outputs=replace(context.outputs, heads=None, obstacle="its decoding is another"))
    with pytest.raises(OptionError, match="NMS cannot be added, because its decoding is another"):
        STEP.run(load(model), unknown)


def test_open_batch_is_refused() -> None:
    model, context = _context("yolov8", Target("any"))
    graph = load(model)
    graph.inputs[0].shape = ["n", *graph.inputs[0].shape[1:]]
    with pytest.raises(OptionError, match="a fixed number of pictures"):
        STEP.run(graph, context)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.5}, "no thresholds"),
        ({"overlap": -0.1}, "no thresholds"),
        ({"confidence": float("nan")}, "no thresholds"),
        ({"most": 0}, "0 detections"),
        ({"most": 20, "candidates": 10}, "20 detections cannot be chosen from 10"),
    ],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Nms(**options)


def test_passes_that_change_outputs_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="nms and raw_outputs exclude each other"):
        output_passes(Pipeline((STEP, RawOutputs())))
    with pytest.raises(OptionError, match="nms stands before other passes"):
        output_passes(Pipeline.parse("nms,fuse"))
