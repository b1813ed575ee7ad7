"""Scenes for training, drawn once and kept in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yocc.errors import OptionError
from yocc.models.street import SPLITS, draw_scene

_MOST_OBJECTS = 24


@dataclass(frozen=True)
class Batch:
    """Some scenes.

    Attributes:
        pictures: `[n, h, w, 3]` RGB.
        targets: `[m, 6]` place in the batch, class, centre x and y, width, height in pixels.
    """

    pictures: NDArray[np.uint8]
    targets: NDArray[np.float32]


class SceneStore:
    """The first scenes of the training split; each is drawn when it is first asked for.

    Args:
        folder: keeps the drawn scenes between runs, about 200 kB each at 256 pixels.
        count: how many scenes.
        size: height and width in pixels.

    Raises:
        OptionError: more scenes than the split has.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        if not 1 <= count <= len(SPLITS["train"]):
            raise OptionError(f"Cannot train on {count} scenes.", f"Use 1 to {len(SPLITS['train'])}.")
        self.size, self._count = size, count
        folder = folder / f"train_{size}_{count}"
        folder.mkdir(parents=True, exist_ok=True)
        self._pictures: NDArray[np.uint8] = _array(folder / "pictures.bin", np.uint8, (count, size, size, 3))
        self._labels: NDArray[np.float32] = _array(folder / "labels.bin", np.float32, (count, _MOST_OBJECTS, 5))
        # Number of objects plus one; 0 where the scene is not drawn yet.
        self._drawn: NDArray[np.uint8] = _array(folder / "drawn.bin", np.uint8, (count,))

    def __len__(self) -> int:
        return self._count

    def batch(self, step: int, batch: int, seed: int) -> Batch:
        """The scenes of a training step: all in random order, then all again; each mirrored or not.

        Args:
            step: number of the step.
            batch: scenes per step.
            seed: of order and mirroring.
        """
        per_epoch = self._count // batch
        epoch, place = divmod(step, per_epoch)
        picks = np.random.default_rng([seed, epoch]).permutation(self._count)[place * batch : (place + 1) * batch]
        mirrored = np.random.default_rng([seed, epoch, place]).random(batch) < 0.5
        pictures, targets = [], []
        for number, (pick, mirror) in enumerate(zip(picks.tolist(), mirrored.tolist(), strict=True)):
            picture, labels = self._scene(pick)
            if mirror:
                picture, labels = picture[:, ::-1], labels.copy()
                labels[:, 1] = self.size - labels[:, 1]
            pictures.append(picture)
            targets.append(np.insert(labels, 0, number, axis=1))
        return Batch(np.stack(pictures), np.concatenate(targets).astype(np.float32))

    def _scene(self, pick: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        if not self._drawn[pick]:
            scene = draw_scene(SPLITS["train"][pick], self.size)
            corners, count = scene.boxes, min(len(scene.boxes), _MOST_OBJECTS)
            centres = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
            self._pictures[pick] = scene.picture
            self._labels[pick, :count] = np.concatenate([scene.classes[:, None], centres], axis=1)[:count]
            self._drawn[pick] = count + 1
        return self._pictures[pick], self._labels[pick, : int(self._drawn[pick]) - 1]


def _array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Any:
    """An array on disk, of zeros where the file is new."""
    return np.memmap(path, dtype, "r+" if path.exists() else "w+", shape=shape)
