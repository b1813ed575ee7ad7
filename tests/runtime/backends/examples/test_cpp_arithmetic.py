"""What the C++ program computes before and after the network: the same as `run.py`. TensorRT's part is only parsed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runtime.backends.examples.programs import program
from tests.runtime.backends.examples.test_arithmetic import HOW, output_cases, raw_yolox
from yocc.models.families.interface import decode_facts, preprocess_facts
from yocc.runtime.backends.examples import example_of, write_examples
from yocc.runtime.data.preprocess import InputSpec, Preprocess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler: apt install g++"),
]

FLAGS = ["-std=c++11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-variable"]
HARNESS = """\
#include <cstdio>
#include "detection.h"

// input PICTURE FILE: the bytes of the input; outputs FILE RANK SIZES...: boxes from outputs of floats.
int main(int count, char** arguments)
{
    Placement placement;
    const std::string what = arguments[1];
    if (what == "input")
    {
        const std::vector<unsigned char> bytes = prepare(read_picture(arguments[2]), placement).bytes;
        std::ofstream(arguments[3], std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        std::printf("%.17g %.17g %d %d\\n", placement.scale_x, placement.scale_y, placement.left, placement.top);
        return 0;
    }
    std::ifstream stream(arguments[2], std::ios::binary);
    std::vector<Tensor> outputs;
    for (int i = 3; i < count; i += 1 + std::atoi(arguments[i]))
    {
        Tensor tensor;
        for (int axis = 1; axis <= std::atoi(arguments[i]); axis++)
            tensor.shape.push_back(std::atoi(arguments[i + axis]));
        std::vector<float> values(tensor.size(0));
        stream.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
        tensor.values = to_floats(values.data(), "float32", values.size());
        outputs.push_back(tensor);
    }
    placement.width = model::WIDTH;
    placement.height = model::HEIGHT;
    for (const Detection& one : detect(outputs, placement))
        std::printf("%d %.9g %.9g %.9g %.9g %.9g\\n", one.label, one.score, one.x1, one.y1, one.x2, one.y2);
    return 0;
}
"""
HALVES = """\
#include <cstdio>
#include "detection.h"

int main()
{
    for (int half = 0; half < 65536; half++)
    {
        const float value = from_half(std::uint16_t(half));
        if (to_half(value) != half && !std::isnan(value))
            return std::printf("%d\\n", half), 1;
        // Halfway to the next number the even one is taken.
        if ((half & 0x7fff) < 0x7bff)
        {
            const float between = (value + from_half(std::uint16_t(half + 1))) / 2;
            if (to_half(between) != (half % 2 ? half + 1 : half))
                return std::printf("beside %d\\n", half), 1;
        }
    }
    return to_half(65519.f) == 0x7bff && to_half(65520.f) == 0x7c00 ? 0 : 1;
}
"""
CUDA = """\
#pragma once
#include <cstddef>
typedef int cudaError_t;
struct CUstream_st;
typedef CUstream_st* cudaStream_t;
enum { cudaSuccess, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
cudaError_t cudaMalloc(void**, std::size_t);
cudaError_t cudaFree(void*);
cudaError_t cudaMemcpyAsync(void*, const void*, std::size_t, int, cudaStream_t);
cudaError_t cudaStreamCreate(cudaStream_t*);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
const char* cudaGetErrorString(cudaError_t);
"""
TENSORRT = """\
#include <cstddef>
#include <cstdint>
#include "cuda_runtime_api.h"
namespace nvinfer1
{
struct Dims { std::int32_t nbDims; std::int64_t d[8]; };
enum class DataType : std::int32_t { kFLOAT, kHALF, kINT8, kINT32, kBOOL, kUINT8, kFP8, kBF16, kINT64 };
enum class TensorIOMode : std::int32_t { kNONE, kINPUT, kOUTPUT };
struct ILogger
{
    enum class Severity : std::int32_t { kINTERNAL_ERROR, kERROR, kWARNING };
    virtual void log(Severity severity, const char* text) noexcept = 0;
    virtual ~ILogger() = default;
};
struct IExecutionContext
{
    bool setInputShape(const char*, const Dims&) noexcept;
    bool setTensorAddress(const char*, void*) noexcept;
    const void* getTensorAddress(const char*) const noexcept;
    Dims getTensorShape(const char*) const noexcept;
    bool enqueueV3(cudaStream_t) noexcept;
};
struct ICudaEngine
{
    IExecutionContext* createExecutionContext() noexcept;
    std::int32_t getNbIOTensors() const noexcept;
    const char* getIOTensorName(std::int32_t) const noexcept;
    TensorIOMode getTensorIOMode(const char*) const noexcept;
    DataType getTensorDataType(const char*) const noexcept;
};
struct IRuntime { ICudaEngine* deserializeCudaEngine(const void*, std::size_t) noexcept; };
IRuntime* createInferRuntime(ILogger&);
}
extern "C" bool initLibNvInferPlugins(void*, const char*);
"""


def _compiled(folder: Path, source: str, preprocess: dict[str, Any], decode: dict[str, Any]) -> Path:
    write_examples(folder, example_of("onnxruntime", ""), preprocess, decode)
    (folder / "cpp" / "harness.cpp").write_text(source)
    program = folder / "harness"
    subprocess.run(["g++", *FLAGS, folder / "cpp" / "harness.cpp", "-o", program], check=True)
    return program


def _preprocess(shape: tuple[int, ...] = (1, 3, 64, 96), dtype: str = "float32", how: str = "yolov5") -> dict[str, Any]:
    return preprocess_facts(InputSpec("images", shape, np.dtype(dtype)), HOW[how])


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    """In width first, as the C++ program does; Pillow chooses the order, which decides how some pixels are rounded."""
    wide = picture.resize((width, picture.height), Image.Resampling.BILINEAR)
    return wide.resize((width, height), Image.Resampling.BILINEAR)


@pytest.mark.parametrize(
    ("how", "shape", "dtype"),
    [
        ("yolov5", (1, 3, 64, 96), "float32"),
        ("yolox", (2, 3, 64, 64), "float32"),
        ("bytes", (1, 64, 96, 3), "uint8"),
        ("classifier", (1, 3, 48, 48), "float16"),
        ("gray", (1, 1, 32, 40), "float32"),
        ("any size", (1, 64, 96, 3), "uint8"),
        ("cut", (1, 3, 64, 96), "float32"),
    ],
)
def test_pictures_become_the_same_input(
    how: str, shape: tuple[int, ...], dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = _preprocess(shape, dtype, how)
    harness = _compiled(tmp_path, HARNESS, facts, decode_facts(output_cases()["rows"][0]))
    run_py = program(tmp_path)
    monkeypatch.setattr(run_py, "resize", _resized)
    for size in [(50, 90), (96, 64), (300, 111), (1, 700)]:
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
        picture.save(tmp_path / "a.ppm")
        command = [harness, "input", tmp_path / "a.ppm", tmp_path / "bytes"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        wanted, scale, offset = run_py.prepare(picture, facts)
        found = np.frombuffer((tmp_path / "bytes").read_bytes(), dtype).reshape(wanted.shape)
        assert ([float(shown[0]), float(shown[1])], [int(shown[2]), int(shown[3])]) == ([*scale], [*offset])
        rounding = 1e-3 if dtype == "float16" else 1e-6
        np.testing.assert_allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("name", [*output_cases(), "raw yolox", "distances", "detections", "in picture", "ncnn"])
def test_outputs_are_read_the_same(name: str, tmp_path: Path) -> None:
    run_py, preprocess = program(tmp_path), _preprocess()
    random = np.random.default_rng(0)
    if name in ("detections", "in picture"):
        boxes, scores = random.uniform(0, 60, (1, 9, 4)), random.uniform(0, 1, (1, 9))
        arrays = [np.array([[7]]), boxes, scores, random.integers(0, 3, (1, 9))]
        names = ["num_dets", "det_boxes", "det_scores", "det_classes"]
        facts = {**decode_facts(output_cases()["rows"][0]), "layout": "detections", "outputs": names, "strides": []}
        facts["suppression"] = {"boxes": "picture" if name == "in picture" else "input"}
    elif name == "ncnn":
        boxes, scores = random.uniform(0, 60, (1, 7, 4)), random.uniform(0, 1, (1, 7, 1))
        arrays = [np.concatenate([random.integers(1, 4, (1, 7, 1)), scores, boxes], axis=2)]
        facts = {**decode_facts(output_cases()["rows"][0]), "layout": "detection_output", "outputs": ["detection_out"]}
    elif name == "raw yolox":
        facts, heads = raw_yolox()
        arrays = [array for head in heads for array in head]
    elif name == "distances":
        sizes = [(64 // stride, 96 // stride) for stride in (8, 16, 32)]
        arrays = [random.normal(0, 2, (1, count, *size)) for size in sizes for count in (4 * 16, 3)]
        facts = {**raw_yolox()[0], "family": "yolov8", "outputs": [f"out{place}" for place in range(6)]}
    else:
        profile, arrays = output_cases()[name]
        facts = decode_facts(profile)
    arrays = [array.astype(np.float32) for array in arrays]

    class Paper:
        @staticmethod
        def run(_: Any) -> dict[str, np.ndarray]:
            return dict(zip(facts["outputs"], arrays, strict=True))

    wanted = run_py.detect(Paper, Image.new("RGB", (96, 64)), preprocess, facts)
    if name == "in picture":
        np.testing.assert_allclose([box for *_, box in wanted], arrays[1][0, :7], rtol=1e-6)
    assert bool(wanted) == (name != "nothing")
    (tmp_path / "values").write_bytes(b"".join(array.tobytes() for array in arrays))
    harness = _compiled(tmp_path, HARNESS, preprocess, facts)
    shapes = [size for array in arrays for size in (array.ndim, *array.shape)]
    command = [harness, "outputs", tmp_path / "values", *map(str, shapes)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = np.array([list(map(float, line.split())) for line in shown]).reshape(-1, 6)
    assert found[:, 0].tolist() == [number for _, number, _, _ in wanted]
    np.testing.assert_allclose(found[:, 1], [score for _, _, score, _ in wanted], rtol=1e-5)
    boxes = np.array([box for _, _, _, box in wanted]).reshape(-1, 4)
    np.testing.assert_allclose(found[:, 2:], boxes, rtol=1e-5, atol=1e-3)


def test_half_precision_is_converted_both_ways(tmp_path: Path) -> None:
    harness = _compiled(tmp_path, HALVES, _preprocess(dtype="float16"), decode_facts(output_cases()["rows"][0]))
    subprocess.run([harness], check=True)


def test_the_part_for_tensorrt_is_sound(tmp_path: Path) -> None:
    """Against declarations of what it uses: NVIDIA's headers are not available here, so it is not linked or run."""
    write_examples(tmp_path, example_of("tensorrt", ""), _preprocess(), decode_facts(output_cases()["raw"][0]))
    (tmp_path / "NvInfer.h").write_text(f"#pragma once\n{TENSORRT}")
    (tmp_path / "NvInferPlugin.h").write_text('#include "NvInfer.h"\n')
    (tmp_path / "cuda_runtime_api.h").write_text(CUDA)
    command = ["g++", *FLAGS, "-std=c++17", f"-I{tmp_path}", "-fsyntax-only", tmp_path / "cpp" / "main.cpp"]
    subprocess.run(command, check=True)


def test_names_of_any_kind_are_sound_text(tmp_path: Path) -> None:
    facts = {**decode_facts(output_cases()["rows"][0]), "classes": ['a"b', "c\\d", "dög\n", "\x01", "???/"]}
    source = (
        '#include "model.h"\n#include <cstdio>\nint main() { for (auto* name : model::CLASSES) std::puts(name); }\n'
    )
    shown = subprocess.run([_compiled(tmp_path, source, _preprocess(), facts)], check=True, capture_output=True).stdout
    assert shown.decode("utf-8") == "".join(f"{name}\n" for name in facts["classes"])


def test_no_program_is_written_for_what_it_cannot_read(tmp_path: Path) -> None:
    rows = decode_facts(output_cases()["rows"][0])
    spec = InputSpec("images", (1, 3, 64, 64), np.dtype(np.int8))
    write_examples(tmp_path, example_of("onnxruntime", ""), preprocess_facts(spec, Preprocess()), rows)
    write_examples(tmp_path, example_of("onnxruntime", ""), _preprocess(), {**rows, "layout": "own"})
    assert not (tmp_path / "cpp").exists()
