from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from tools.train.loop import CHECKPOINT, CURVE, DOOMED, Recipe, load_averaged, train
from yocc.errors import OptionError

pytestmark = pytest.mark.slow

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

    import tools.train.loop as loop

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
    train(replace(RECIPE, steps=60, warm_up=3), tmp_path, drawings=tmp_path, every=10, say=_silent)
    curve = [json.loads(line) for line in (tmp_path / CURVE).read_text().splitlines()]
    assert sum(curve[-1][part] for part in ("box", "objectness", "classes")) < 0.9 * sum(
        curve[0][part] for part in ("box", "objectness", "classes")
    )


def test_doomed_channels_die_and_no_others(tmp_path: Path) -> None:
    train(RECIPE, tmp_path / "start", drawings=tmp_path, say=_silent)
    recipe = replace(RECIPE, prune=0.3, sparsity=1e4)
    folder, start = tmp_path / "sparse", tmp_path / "start" / CHECKPOINT
    train(recipe, folder, drawings=tmp_path, start=start, say=_silent)
    trained = torch.load(folder / CHECKPOINT, weights_only=True)["network"]
    for name, doomed in torch.load(folder / DOOMED, weights_only=True).items():
        for part in ("weight", "bias"):
            values = trained[f"{name}.{part}"]
            assert not values[doomed].any()
            assert values[~doomed].any()


def test_the_penalty_rises_to_outweigh_the_optimizer() -> None:
    recipe = Recipe(steps=100, warm_up=0, rate=1.0, prune=0.4)
    assert recipe.shrinkage_at(0) == 0
    assert recipe.shrinkage_at(10) < recipe.rate_at(10)
    assert all(recipe.shrinkage_at(step) > recipe.rate_at(step) for step in range(50, 100))


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
    "change",
    [{"steps": 0}, {"rate": 0.0}, {"size": 100}, {"sparsity": -1.0}, {"prune": 1.0}, {"batch": 5, "scenes": 4}],
)
def test_bad_recipes_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Recipe(**change)
