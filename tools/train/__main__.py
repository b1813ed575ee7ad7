"""`python -m tools.train --out FOLDER`: train the demo detector, export it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for checkpoints and the model.")
@click.option("--drawings", type=click.Path(path_type=Path), help="Folder that keeps drawn scenes [default: in --out].")
@click.option("--start", type=click.Path(path_type=Path, exists=True), help="Checkpoint to begin with.")
@click.option("--steps", type=int, default=10_000, show_default=True)
@click.option("--scenes", type=int, default=8_000, show_default=True)
@click.option("--rate", type=float, default=2e-3, show_default=True)
@click.option("--prune", type=float, default=0.0, show_default=True, help="Share of parameters and MACs to let die.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="Where to compute, such as cuda.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def main(
    out: Path, drawings: Path | None, start: Path | None, steps: int, scenes: int, rate: float, prune: float,
    seed: int, device: str, threads: int,
) -> None:  # fmt: skip
    """Train the demo detector and write detector.onnx and, with weights in half precision, detector_half.onnx.

    Run again to continue an interrupted training.

    \b
    Examples:
      python -m tools.train --out plain/
      python -m tools.train --out sparse/ --start plain/checkpoint.pt --prune 0.7 --steps 24000 --scenes 16000
    """  # noqa: D301 # click reads a real backspace as "do not wrap what follows"
    import onnx
    import torch

    from tools.train.loop import Recipe, train
    from tools.train.network import to_graph
    from tools.train.storage import store_half
    from yocc.models.street import CLASSES

    torch.set_num_threads(threads)
    recipe = Recipe(steps=steps, scenes=scenes, rate=rate, prune=prune, seed=seed)
    network = train(recipe, out, drawings=drawings or out, start=start, device=device)
    model = to_graph(network, CLASSES, size=recipe.size)
    onnx.save(model, out / "detector.onnx")
    onnx.save(store_half(model), out / "detector_half.onnx")


if __name__ == "__main__":
    main()
