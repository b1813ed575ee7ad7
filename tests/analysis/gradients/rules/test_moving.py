"""Gradients of operators that move and resize, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.gradients.differences import Case, check, factors, floats, ints, model_of

CASES = {
    "resize": Case("Resize", (1, 2, 3, 4), [None, np.array([1, 1, 2, 3], np.float32)], {}),
    "reshape": Case("Reshape", (1, 2, 3, 4), [ints(1, -1, 4)], {}),
    "flatten": Case("Flatten", (1, 2, 3), [], {}),
    "squeeze": Case("Squeeze", (1, 2, 1), [ints(2)], {}),
    "unsqueeze": Case("Unsqueeze", (1, 2), [ints(0)], {}),
    "transpose": Case("Transpose", (1, 2, 3, 4), [], {"perm": [0, 3, 1, 2]}),
    "concat": Case("Concat", (1, 2, 3), [floats(1, 4, 3)], {"axis": 1}),
    "slice": Case("Slice", (1, 4, 5), [ints(1, -3), ints(3, 5), ints(1, 2)], {}),
    "resize at half pixels, odd": Case("Resize", (1, 2, 3, 4), [None, factors(1, 1, 1.5, 0.5)]),
    "resize up and down": Case("Resize", (1, 1, 3, 5), [None, None, ints(1, 1, 7, 2)], {"mode": "linear"}),
    "resize to corners": Case(
        "Resize",
        (1, 2, 3, 4),
        [None, None, ints(1, 2, 5, 8)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    "resize cubic": Case(
        "Resize", (1, 1, 4, 5), [None, factors(1, 1, 2, 1.5)], {"mode": "cubic", "cubic_coeff_a": -0.5}
    ),
    "resize cubic inside": Case(
        "Resize", (1, 1, 4, 4), [None, factors(1, 1, 2, 2)], {"mode": "cubic", "exclude_outside": 1}
    ),
    "resize asymmetric": Case(
        "Resize",
        (2, 1, 3, 4),
        [None, factors(1, 1, 2, 2)],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "resize asymmetric, rounded up": Case(
        "Resize",
        (1, 1, 3, 4),
        [None, factors(1, 1, 2, 2)],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"},
    ),
    "resize for torch": Case(
        "Resize",
        (1, 1, 3, 4),
        [None, None, ints(1, 1, 1, 9)],
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    ),
    "resize and crop": Case(
        "Resize",
        (1, 1, 4, 4),
        [np.array([0, 0, 0.1, 0.3, 1, 1, 0.8, 1.2], np.float32), None, ints(1, 1, 3, 5)],
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"},
    ),
    "resize against aliases": Case(
        "Resize", (1, 1, 6, 6), [None, factors(1, 1, 0.5, 0.4)], {"mode": "linear", "antialias": 1}, opset=18
    ),
    "resize some axes": Case(
        "Resize", (1, 2, 3, 4), [None, None, ints(5, 6)], {"mode": "linear", "axes": [2, 3]}, opset=18
    ),
    "resize volumes": Case("Resize", (1, 1, 2, 3, 2), [None, factors(1, 1, 2, 1.7, 2)], {"mode": "linear"}),
    "resize rows": Case("Resize", (1, 2, 5), [None, factors(1, 1, 2.5)], {"mode": "linear"}),
    "resize channels": Case("Resize", (1, 2, 3, 2), [None, factors(1, 2, 1, 1)]),
    "slice with steps": Case("Slice", (1, 4, 7), [ints(0, 1), ints(4, 9), ints(1, -1), ints(2, 3)]),
    "slice backwards": Case("Slice", (1, 4, 5), [ints(-1), ints(-10), ints(2), ints(-2)]),
    "slice of nothing": Case("Slice", (1, 4), [ints(2), ints(2), ints(1)]),
    "pad": Case("Pad", (1, 2, 3), [ints(0, 1, 2, 0, 0, 1), np.float32(3)]),
    "pad and cut off": Case("Pad", (1, 2, 4), [ints(0, 0, -1, 0, 1, -2)]),
    "pad some axes": Case("Pad", (1, 2, 3), [ints(1, 2), None, ints(-1)], opset=18),
    "pad by reflection": Case("Pad", (1, 2, 4), [ints(0, 0, 2, 0, 0, 3)], {"mode": "reflect"}),
    "pad with edges": Case("Pad", (1, 2, 3), [ints(0, 0, 2, 0, 1, 1)], {"mode": "edge"}),
    "pad around": Case("Pad", (1, 2, 3), [ints(0, 0, 2, 0, 0, 1)], {"mode": "wrap"}, opset=19),
    "expand": Case("Expand", (2, 1), [ints(3, 2, 4)]),
    "tile": Case("Tile", (1, 2, 3), [ints(2, 1, 3)]),
    "depth to space": Case("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2}),
    "depth to space by columns": Case("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2, "mode": "CRD"}),
    "space to depth": Case("SpaceToDepth", (1, 2, 4, 6), [], {"blocksize": 2}),
    "gather one": Case("Gather", (2, 3, 4), [np.array(1)], {"axis": 1}),
    "gather shuffled": Case("Gather", (2, 4), [ints(2, -4, 3, 1)], {"axis": -1}),
    "gather again": Case("Gather", (2, 4), [ints(2, 0, 2, 2).reshape(2, 2)], {"axis": 1}),
    "gather elements": Case("GatherElements", (3, 2), [ints(2, 0, 2, 1).reshape(2, 2)], {"axis": 0}),
    "gather places": Case("GatherND", (3, 2, 2), [ints(0, 1, 2, 0, 0, 1).reshape(3, 2)]),
    "scatter into": Case("ScatterElements", (3, 2), [ints(1, 0).reshape(1, 2), floats(1, 2)], {"axis": 0}),
    "scatter": Case("ScatterElements", (1, 2), [floats(3, 2), ints(1, 0).reshape(1, 2)], slot=2),
    "scatter added": Case("ScatterElements", (3, 2), [ints(1, 0).reshape(1, 2), floats(1, 2)], {"reduction": "add"}),
    "scatter places into": Case("ScatterND", (3, 2), [ints(2, 0).reshape(2, 1), floats(2, 2)]),
    "scatter places": Case("ScatterND", (2, 2), [floats(3, 2), ints(2, 0).reshape(2, 1)], slot=2),
    "add at places": Case("ScatterND", (3, 2), [ints(2, 2).reshape(2, 1), floats(2, 2)], {"reduction": "add"}),
    "running sum": Case("CumSum", (2, 4), [np.array(1)], {"exclusive": 1}),
    "running sum backwards": Case("CumSum", (2, 4), [np.array(-1)], {"reverse": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_derivative(name: str) -> None:
    check(model_of(CASES[name]))
