from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra yocc[torch] is not installed")

from yocc.learning.optimizer import Optimizer

SHAPES = {"matrix": (6, 10), "tall": (12, 5), "bias": (6,), "depthwise": (4, 1, 3, 3), "scale": ()}


def parameters() -> dict[str, torch.nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    made = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in SHAPES.items()}
    for parameter in made.values():
        parameter.grad = torch.randn(parameter.shape, generator=random) + 0.1
    return made


@pytest.mark.slow
def test_every_parameter_moves_by_a_fifth_of_the_rate() -> None:
    made = parameters()
    Optimizer(list(made.values())).step(0.5)
    for name, parameter in made.items():
        # Muon's orthogonal matrices are so within a third.
        assert float(parameter.detach().square().mean().sqrt()) == pytest.approx(0.1, rel=0.35), name


@pytest.mark.slow
@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("name", ["matrix", "tall"])
def test_matrices_move_as_far_in_all_directions(name: str, halves: bool) -> None:
    made = parameters()
    made[name].grad[0] *= 100
    Optimizer(list(made.values()), halves=halves).step(0.5)
    lengths = torch.linalg.svdvals(made[name].detach())
    assert float(lengths.max() / lengths.min()) < 2.5
    assert float(torch.linalg.svdvals(made[name].grad).max() / torch.linalg.svdvals(made[name].grad).min()) > 50


@pytest.mark.slow
def test_in_float_matrices_move_as_in_halves() -> None:
    with_halves, without = parameters(), parameters()
    for made, halves in ((with_halves, True), (without, False)):
        optimizer = Optimizer(list(made.values()), halves=halves)
        for rate in (0.5, 0.25):
            optimizer.step(rate)
    for name, parameter in with_halves.items():
        # bfloat16 has 8 bits of precision.
        torch.testing.assert_close(without[name], parameter, rtol=0.02, atol=0.01)
    assert not torch.equal(without["matrix"], with_halves["matrix"])


def test_the_direction_is_down() -> None:
    made = parameters()
    Optimizer(list(made.values())).step(0.5)
    for parameter in made.values():
        assert float((parameter.detach() * parameter.grad).sum()) < 0


def test_a_state_is_continued_exactly() -> None:
    through, stopped = parameters(), parameters()
    first, second = Optimizer(list(through.values())), Optimizer(list(stopped.values()))
    first.step(0.1)
    second.step(0.1)
    third = Optimizer(list(stopped.values()))
    third.resume(second.state())
    first.step(0.1)
    third.step(0.1)
    for name, parameter in through.items():
        torch.testing.assert_close(stopped[name], parameter, rtol=0, atol=0)


def test_gradients_are_forgotten() -> None:
    made = parameters()
    optimizer = Optimizer(list(made.values()))
    optimizer.forget_gradients()
    assert all(parameter.grad is None for parameter in made.values())
    optimizer.step(0.5)
    assert not any(parameter.detach().any() for parameter in made.values())
