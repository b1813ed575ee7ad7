from __future__ import annotations

from typing import Any

import pytest

from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.recipe import read_target, recipe_pipeline
from yocc.compiler.stages.shrink.steps import ROUND
from yocc.errors import OptionError
from yocc.options import CompileOptions, CompressionRecipe
from yocc.passes.prune import Prune


def _pipeline(recipe: CompressionRecipe, *, pictures: bool = True) -> Pipeline:
    CompileOptions(recipe=recipe)
    return recipe_pipeline(recipe, pictures=pictures)


def spec_of(recipe: CompressionRecipe, *, pictures: bool = True) -> str:
    return str(_pipeline(recipe, pictures=pictures))


@pytest.mark.parametrize(
    ("prune", "int8", "fp16", "expected"),
    [
        (None, False, False, "fp32,simplify,fuse"),
        (0.4, False, False, "fp32,simplify,prune,fuse"),
        (0.4, True, False, "fp32,simplify,prune,fuse,quantize,quantize_weights"),
        (None, True, True, "fp32,simplify,fuse,quantize,quantize_weights,fp16"),
    ],
)
def test_short_forms_stand_for_a_pipeline(prune: float | None, int8: bool, fp16: bool, expected: str) -> None:
    assert spec_of(CompressionRecipe(prune=prune, int8=int8, fp16=fp16)) == expected


@pytest.mark.parametrize("ratio", [0.0, -0.1, 0.95, 1.0, 1.2, float("nan"), float("inf")])
def test_ratio_that_cannot_be_meant_is_refused(ratio: float) -> None:
    with pytest.raises(OptionError, match=r"above 0 and below 0\.95"):
        spec_of(CompressionRecipe(prune=ratio))


def test_recovery_folds_first_and_refits_before_coding() -> None:
    spec = spec_of(CompressionRecipe(prune=0.2, moves="channels", int8=True, recover="reconstruct"))
    assert spec == "fp32,simplify,fuse,prune{ratio=0.2,criterion=effect},recover,quantize,quantize_weights"


@pytest.mark.parametrize(("prune", "rounds"), [(0.05, 1), (0.25, 1), (0.26, 2), (0.4, 2), (0.7, 5)])
def test_recovery_goes_in_rounds_of_equal_shares_that_add_up(prune: float, rounds: int) -> None:
    passes = (_pipeline(CompressionRecipe(prune=prune, moves="channels", recover="reconstruct"))).passes
    ratios = [step.ratio for step in passes if isinstance(step, Prune)]
    assert [step.name for step in passes[3:]] == ["prune", "recover"] * rounds
    assert len(set(ratios)) == 1
    assert ratios[0] <= ROUND + 1e-9
    assert (1 - ratios[0]) ** rounds == pytest.approx(1 - prune, abs=1e-3)


def test_distillation_follows_the_last_round_of_pruning() -> None:
    passes = (_pipeline(CompressionRecipe(prune=0.4, moves="channels", int8=True, recover="distill"))).passes
    assert [step.name for step in passes[3:]] == ["prune", "recover"] * 2 + ["distill", "quantize", "quantize_weights"]
    spec = spec_of(CompressionRecipe(prune=0.4, recover="distill"), pictures=False)
    assert spec == "fp32,simplify,prune,fuse,recover,distill"


def test_a_budget_of_one_kind_is_an_option_of_prune() -> None:
    spec = spec_of(CompressionRecipe(recover="reconstruct", prune_target="macs=0.8"))
    assert spec == "fp32,simplify,fuse,prune{ratio=0.2,budget=macs,criterion=effect},recover"
    spec = spec_of(CompressionRecipe(prune_target="latency=0.7"))
    assert spec == "fp32,simplify,prune{ratio=0.3,budget=latency},fuse"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "shrink{ratio=0.25,budget=latency}"),
        ({"rounds": 1}, "shrink{ratio=0.25,rounds=1,budget=latency}"),
        ({"moves": "channels,ranks"}, "shrink{ratio=0.25,moves=both,budget=latency}"),
        ({"moves": "ranks"}, "factorize{ratio=0.25,budget=latency},recover"),
        ({"moves": "channels"}, "prune{ratio=0.25,budget=latency,criterion=effect},recover"),
        ({"factorize": 0.1}, "prune{ratio=0.25,budget=latency,criterion=effect},recover,factorize{ratio=0.1},recover"),
    ],
)
def test_a_share_of_the_time_is_removed_by_the_same_moves(options: dict[str, Any], expected: str) -> None:
    spec = spec_of(CompressionRecipe(prune_target="latency=0.75", recover="reconstruct", **options))
    assert spec == f"fp32,simplify,fuse,{expected}"


def test_without_pictures_channels_and_ranks_take_equal_parts_of_the_time() -> None:
    recipe = CompressionRecipe(prune_target="latency=0.64", moves="channels,ranks", recover="none")
    expected = "fp32,simplify,prune{ratio=0.2,budget=latency},fuse,factorize{ratio=0.2,budget=latency}"
    assert spec_of(recipe, pictures=False) == expected


@pytest.mark.parametrize("text", ["latency", "latency=", "latency=70%", "time=0.7", "macs=1", "macs=0", "macs=nan"])
def test_a_target_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"such as latency=0\.7"):
        read_target(text)


def test_a_target_beside_a_share_or_a_pipeline_is_refused() -> None:
    with pytest.raises(OptionError, match="Give either --prune-target or --prune"):
        spec_of(CompressionRecipe(prune=0.4, int8=True, prune_target="macs=0.8"))
    with pytest.raises(OptionError, match="A pipeline states every pass"):
        spec_of(CompressionRecipe(pipeline="look", prune_target="macs=0.8"))


def test_no_recovery_is_pruning_by_weights() -> None:
    assert spec_of(CompressionRecipe(prune=0.4, recover="none")) == spec_of(CompressionRecipe(prune=0.4))


def test_low_ranks_come_after_pruning_and_are_refitted() -> None:
    spec = spec_of(CompressionRecipe(factorize=0.2, int8=True, recover="reconstruct"))
    assert spec == "fp32,simplify,fuse,factorize{ratio=0.2},recover,quantize,quantize_weights"
    assert spec_of(CompressionRecipe(factorize=0.2), pictures=False) == "fp32,simplify,fuse,factorize{ratio=0.2}"
    spec = spec_of(CompressionRecipe(prune=0.2, factorize=0.1, recover="reconstruct"))
    assert spec.endswith("prune{ratio=0.2,criterion=effect},recover,factorize{ratio=0.1},recover")
    with pytest.raises(OptionError, match="by low ranks"):
        spec_of(CompressionRecipe(factorize=1.5))


@pytest.mark.parametrize(
    ("options", "pictures", "expected"),
    [
        ({"recover": "reconstruct"}, True, "fuse,substitute,recover,fuse"),
        (
            {"recover": "statistics", "int8": True},
            True,
            "fuse,substitute,recover{method=statistics},fuse,quantize,quantize_weights",
        ),
        ({}, False, "fuse,substitute,fuse"),
        ({"recover": "distill"}, True, "fuse,substitute,recover,distill,fuse"),
        # What is refitted after pruning makes up for both.
        ({"recover": "reconstruct", "prune": 0.2}, True, "fuse,substitute,shrink{ratio=0.2},fuse"),
        ({"recover": "reconstruct", "factorize": 0.2}, True, "fuse,substitute,factorize{ratio=0.2},recover,fuse"),
        ({"recover": "reconstruct", "prune": 0.2}, False, "prune{ratio=0.2},fuse,substitute,recover,fuse"),
    ],
)
def test_other_activations_come_once_layers_are_whole(options: dict[str, Any], pictures: bool, expected: str) -> None:
    recipe = CompressionRecipe(activations="hardswish", **options)
    assert spec_of(recipe, pictures=pictures) == f"fp32,simplify,{expected}"


def test_which_activation_is_an_option_of_the_pass() -> None:
    spec = spec_of(CompressionRecipe(activations="gelu", recover="none"))
    assert spec == "fp32,simplify,fuse,substitute{activation=gelu},fuse"
    spec = spec_of(CompressionRecipe(activations="mixed", recover="none"))
    assert spec == "fp32,simplify,fuse,substitute{share=0.5,rest=gelu},fuse"
    with pytest.raises(OptionError, match="nothing to recover"):
        spec_of(CompressionRecipe(activations="keep", recover="reconstruct"))


def test_with_pictures_what_is_removed_is_left_open() -> None:
    spec = spec_of(CompressionRecipe(prune=0.4, int8=True, recover="reconstruct"))
    assert spec == "fp32,simplify,fuse,shrink,quantize,quantize_weights"
    spec = spec_of(CompressionRecipe(prune=0.2, recover="statistics", rounds=1))
    assert spec == "fp32,simplify,fuse,shrink{ratio=0.2,recover=statistics,rounds=1}"
    assert spec_of(CompressionRecipe(prune=0.2, recover="distill")).endswith("shrink{ratio=0.2},distill")
    spec = spec_of(CompressionRecipe(prune=0.2, moves="channels,ranks", recover="reconstruct"))
    assert spec == "fp32,simplify,fuse,shrink{ratio=0.2,moves=both}"


def test_ranks_alone_are_low_ranks_that_meet_the_share() -> None:
    spec = spec_of(CompressionRecipe(prune=0.4, moves="ranks", recover="reconstruct"))
    assert spec == "fp32,simplify,fuse,factorize{ratio=0.4,exact=true},recover"
    spec = spec_of(CompressionRecipe(prune=0.4, moves="ranks", recover="none"), pictures=False)
    assert spec == "fp32,simplify,fuse,factorize{ratio=0.4,exact=true}"


def test_without_pictures_channels_and_ranks_take_equal_parts() -> None:
    spec = spec_of(CompressionRecipe(prune=0.36, moves="channels,ranks", recover="reconstruct"), pictures=False)
    assert spec == "fp32,simplify,prune{ratio=0.2},fuse,recover,factorize{ratio=0.2,exact=true},recover"
    spec = spec_of(CompressionRecipe(prune=0.36, moves="channels,ranks", recover="none"))
    assert spec == "fp32,simplify,prune{ratio=0.2},fuse,factorize{ratio=0.2,exact=true}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moves": "ranks"}, "Only --prune"),
        ({"moves": "ranks", "prune_target": "macs=0.8"}, "A target of macs is met by removing channels only"),
        ({"moves": "ranks", "prune": 0.2, "factorize": 0.2}, "Give either --moves or --factorize"),
        ({"moves": "ranks", "prune": 0.2, "recover": "reconstruct", "rounds": 2}, "not in rounds"),
        ({"moves": "ranks", "prune": 0.2, "pipeline": "look"}, "A pipeline states every pass"),
    ],
)
def test_moves_that_contradict_other_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        spec_of(CompressionRecipe(**options))


def test_recovery_without_pruning_is_refused() -> None:
    with pytest.raises(OptionError, match="nothing to recover"):
        spec_of(CompressionRecipe(int8=True, recover="reconstruct"))


@pytest.mark.parametrize(("prune", "int8", "fp16"), [(0.4, False, False), (None, True, False), (None, False, True)])
def test_pipeline_and_short_forms_exclude_each_other(prune: float | None, int8: bool, fp16: bool) -> None:
    with pytest.raises(OptionError, match="either"):
        spec_of(CompressionRecipe(prune=prune, int8=int8, fp16=fp16, pipeline="look"))


def test_weight_codes_come_last_and_exclude_half_precision() -> None:
    assert spec_of(CompressionRecipe(int8=True, weights="uniform:4")).endswith(
        "fuse,quantize,quantize_weights,encode{code=uniform,bits=4,wide=8}"
    )
    assert spec_of(CompressionRecipe(weights="log2:0.2")).endswith("fuse,encode{size=0.2}")
    with pytest.raises(OptionError, match="float32"):
        spec_of(CompressionRecipe(fp16=True, weights="log2:4"))
    with pytest.raises(OptionError):
        spec_of(CompressionRecipe(pipeline="look", weights="log2:4"))


def test_without_pictures_weights_choose_and_recovery_follows() -> None:
    spec = spec_of(CompressionRecipe(prune=0.4, recover="reconstruct"), pictures=False)
    assert spec == "fp32,simplify,prune,fuse,recover"
    spec = spec_of(CompressionRecipe(prune=0.4, recover="statistics"), pictures=False)
    assert spec == "fp32,simplify,prune,fuse,recover{method=statistics}"


@pytest.mark.parametrize(
    ("schedule", "rounds", "expected"),
    [("oneshot", None, 1), ("oneshot", 1, 1), ("iterative", None, 2), ("iterative", 4, 4), (None, 3, 3)],
)
@pytest.mark.parametrize("pictures", [True, False])
def test_schedules_are_rounds_that_add_up(schedule: str, rounds: int, expected: int, pictures: bool) -> None:
    spec = spec_of(
        CompressionRecipe(prune=0.2, moves="channels", recover="reconstruct", schedule=schedule, rounds=rounds),  # type: ignore[arg-type]
        pictures=pictures,
    )
    ratios = [step.ratio for step in Pipeline.parse(spec).passes if isinstance(step, Prune)]
    assert len(ratios) == expected
    assert (1 - ratios[0]) ** expected == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    ("recover", "schedule", "rounds"), [("none", None, 2), (None, "iterative", None), ("reconstruct", "oneshot", 2)]
)
def test_rounds_that_change_nothing_are_refused(recover: str, schedule: str, rounds: int) -> None:
    with pytest.raises(OptionError, match="rounds"):
        spec_of(CompressionRecipe(prune=0.2, recover=recover, schedule=schedule, rounds=rounds))


def test_promises_stand_in_the_pass_that_keeps_them() -> None:
    assert spec_of(CompressionRecipe(int8=True, max_drop=0.05)).endswith("quantize{max_drop=0.05},quantize_weights")
    assert spec_of(CompressionRecipe(int8=True, max_latency=0.7)).endswith("quantize{max_latency=0.7},quantize_weights")
    (_pipeline(CompressionRecipe(int8=True, max_drop=0.05)))


@pytest.mark.parametrize(("int8", "pipeline"), [(False, None), (False, "quantize")])
def test_promises_without_int8_are_refused(int8: bool, pipeline: str | None) -> None:
    with pytest.raises(OptionError):
        spec_of(CompressionRecipe(int8=int8, pipeline=pipeline, max_drop=0.05))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uint8", "uint8_input"),
        ("uint8,nhwc", "uint8_input{layout=nhwc}"),
        ("UINT8, bgr, NCHW", "uint8_input{layout=nchw,color=bgr}"),
    ],
)
def test_an_input_of_bytes_comes_last(text: str, expected: str) -> None:
    assert spec_of(CompressionRecipe(input=text, fp16=True)) == f"fp32,simplify,fuse,fp16,{expected}"


@pytest.mark.parametrize("text", ["", "int8", "uint8,", "uint8,hwc", "uint8,nhwc,nchw", "nhwc", "uint8,gray"])
def test_other_inputs_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="input cannot be"):
        spec_of(CompressionRecipe(input=text))
