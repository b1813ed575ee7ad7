from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from yocc.compiler.cost import layer_costs, totals  # noqa: E402 # after the test for torch
from yocc.compiler.graph import load  # noqa: E402
from yocc.compiler.shapes import concrete_shapes  # noqa: E402
from yocc.errors import OptionError  # noqa: E402
from yocc.models.street import CLASSES  # noqa: E402
from yocc.models.train.loop import CHECKPOINT, CURVE, Recipe, channel_costs, load_averaged, train  # noqa: E402
from yocc.models.train.network import YoloV5  # noqa: E402
from yocc.models.yolov5 import build_yolov5  # noqa: E402

RECIPE = Recipe(steps=6, batch=2, scenes=4, size=64, warm_up=2, half=False)


def _silent(_: str) -> None:
    pass


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    whole = train(RECIPE, tmp_path / "whole", drawings=tmp_path, every=3, say=_silent)

    def stop(_: str) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    import yocc.models.train.loop as loop

    save = loop._save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)
        stop("")

    monkeypatch.setattr(loop, "_save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, tmp_path / "parts", drawings=tmp_path, every=3, say=_silent)
    assert torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)["step"] == 3
    parts = train(RECIPE, tmp_path / "parts", drawings=tmp_path, every=3, say=_silent)
    for one, other in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert [json.loads(line)["step"] for line in (tmp_path / "parts" / CURVE).read_text().splitlines()] == [3, 6]


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    train(replace(RECIPE, steps=1), tmp_path, drawings=tmp_path, say=_silent)
    with pytest.raises(OptionError, match="another recipe"):
        train(RECIPE, tmp_path, drawings=tmp_path, say=_silent)


def test_training_learns_a_few_scenes_by_heart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    train(replace(RECIPE, steps=30, warm_up=3), tmp_path, drawings=tmp_path, every=10, say=_silent)
    curve = [json.loads(line) for line in (tmp_path / CURVE).read_text().splitlines()]
    assert sum(curve[-1][part] for part in ("box", "objectness", "classes")) < 0.9 * sum(
        curve[0][part] for part in ("box", "objectness", "classes")
    )


def test_sparsity_shrinks_the_scales(tmp_path: Path) -> None:
    train(RECIPE, tmp_path / "start", drawings=tmp_path, say=_silent)
    start = tmp_path / "start" / CHECKPOINT
    sums = {}
    for sparsity in (0.0, 1.0):
        folder = tmp_path / f"{sparsity}"
        network = train(replace(RECIPE, sparsity=sparsity), folder, drawings=tmp_path, start=start, say=_silent)
        sums[sparsity] = sum(float(m.weight.detach().abs().sum()) for m in network.modules() if hasattr(m, "momentum"))
    assert sums[1.0] < sums[0.0]


def test_a_channel_costs_its_share_of_macs_and_parameters() -> None:
    network = YoloV5(classes=len(CLASSES))
    before = {name: values.clone() for name, values in network.state_dict().items()}
    costs = channel_costs(network, 64)
    norms = {name: layer.num_features for name, layer in network.named_modules() if hasattr(layer, "num_features")}
    assert set(costs) == set(norms)
    assert sum(costs[name] * count for name, count in norms.items()) / sum(norms.values()) == pytest.approx(1)
    graph = load(build_yolov5("n", classes=len(CLASSES), size=64).SerializeToString())
    assert costs["model.0.bn"] > 5 * costs["model.23.cv1.bn"] > 0
    counted = totals(layer_costs(graph, concrete_shapes(graph, {})))
    own = (32 * 32 * 16 * 108 / counted.macs + 16 * 108 / counted.parameters) / 2 * sum(norms.values()) / 16
    assert costs["model.0.bn"] == pytest.approx(own, rel=0.05)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_a_start_is_where_a_training_begins(tmp_path: Path) -> None:
    train(RECIPE, tmp_path / "start", drawings=tmp_path, say=_silent)
    start = tmp_path / "start" / CHECKPOINT
    barely = replace(RECIPE, steps=1, rate=1e-12, decay=0.0)
    network = train(barely, tmp_path / "next", drawings=tmp_path, start=start, say=_silent)
    for one, other in zip(network.parameters(), load_averaged(start).parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(steps=100, warm_up=10, rate=1.0)
    rates = [recipe.rate_at(step) for step in range(100)]
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"rate": 0.0}, {"size": 100}, {"sparsity": -1.0}, {"batch": 5, "scenes": 4}]
)
def test_bad_recipes_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Recipe(**change)
