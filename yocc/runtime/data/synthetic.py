"""Synthetic pictures, to calibrate with when the user gives none.

White noise does not represent photographs: it drives a network into ranges no photograph reaches. Two models of
natural images are used instead: dead leaves, occluding shapes with power-law sizes (Lee, Mumford, Huang 2001,
"Occlusion models for natural images"), and textures whose amplitude falls as 1/f (Field 1987).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from yocc.errors import OptionError

_COARSEST = 6
"""Pixels along the longer side of the first level of a texture."""
_ASPECTS = ((3, 4), (3, 4), (4, 3), (2, 3), (1, 1), (3, 4), (3, 2), (9, 16))
"""Height to width of photographs, by picture number."""
_KEPT = 64
"""Pictures kept, as every loop over a network's inputs asks for the same ones again."""


def photograph_size(index: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the `index`-th picture so that it fits `size` without scaling, as a photograph would."""
    tall, wide = _ASPECTS[index % len(_ASPECTS)]
    ratio = min(size[0] / tall, size[1] / wide)
    return max(1, round(tall * ratio)), max(1, round(wide * ratio))


@lru_cache(maxsize=_KEPT)
def synthetic_picture(seed: int, index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw one picture; the same arguments give the same bytes.

    Three of four pictures are dead leaves, each fourth is a texture with few shapes over a gradient.

    Args:
        seed: not negative.
        index: number of the picture, not negative.
        size: height and width in pixels.

    Returns:
        `[h, w, 3]` RGB, not to be written to.

    Raises:
        OptionError: a negative seed or index, or an empty size.
    """
    if seed < 0 or index < 0 or min(size) < 1:
        raise OptionError(
            f"Cannot generate picture {index} of seed {seed} at {size[0]}x{size[1]}.", "Use numbers from 0."
        )
    random = np.random.default_rng([seed, index])
    texture = _texture(random, size)
    sparse = index % 4 == 3
    leaves = _leaves(random, size, count=int(random.integers(4, 20)) if sparse else int(random.integers(400, 1000)))
    count = int(leaves.max()) + 1
    colors = _colors(random, count)
    # A leaf is smooth or rough; the ground shows the full texture.
    roughness = random.exponential(0.17, count).astype(np.float32)
    roughness[0] = random.uniform(0.15, 0.35) if sparse else 0.2
    light = _gradient(random, size) + roughness[leaves] * texture
    pixels = colors[leaves]
    pixels *= 255.0 * np.exp2(2.0 * light)[..., None]
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    # Lenses have no hard edges.
    return np.asarray(picture.filter(ImageFilter.BoxBlur(float(random.uniform(0.0, 0.6)))))


def _texture(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """A field of about unit variance with equal variance in each octave, which is an amplitude of 1/f."""
    octaves = max(1, int(np.ceil(np.log2(max(size) / _COARSEST))) + 1)
    field = np.zeros((1, 1), np.float32)
    for octave in reversed(range(octaves)):
        height, width = (-(-side // 2**octave) for side in size)
        coarse = Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC)
        field = np.asarray(coarse) + random.standard_normal((height, width), dtype=np.float32)
    return field / np.float32(np.sqrt(octaves))


def _leaves(random: np.random.Generator, size: tuple[int, int], count: int) -> NDArray[np.int32]:
    """Which leaf is seen at each pixel, 0 for the ground: discs, rectangles and polygons, later over earlier."""
    height, width = size
    canvas = Image.new("I", (width, height), 0)
    pen = ImageDraw.Draw(canvas)
    smallest, largest = 0.015, 0.5
    # Radii with density r^-3, the scale-invariant law, by inverting its distribution.
    uniform = random.random(count)
    radii = max(size) / np.sqrt(smallest**-2 + uniform * (largest**-2 - smallest**-2))
    centres = random.random((count, 2)) * (width, height)
    angles = random.uniform(0, 2 * np.pi, count)
    flatness = random.uniform(0.35, 1.0, count)
    corners = random.choice([0, 3, 4, 4, 6], count)
    for leaf in range(count):
        # Discs are polygons of many corners, so that they too can be flat and turned.
        points = 24 if corners[leaf] == 0 else int(corners[leaf])
        turn = 2 * np.pi * np.arange(points) / points
        x, y = np.cos(turn) * radii[leaf], np.sin(turn) * radii[leaf] * flatness[leaf]
        cosine, sine = np.cos(angles[leaf]), np.sin(angles[leaf])
        outline = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1) + centres[leaf]
        pen.polygon([float(one) for one in outline.ravel()], fill=leaf + 1)
    return np.asarray(canvas)


def _gradient(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Light falling off linearly across the picture, in half stops, zero in the middle."""
    height, width = size
    down, across = random.normal(0.0, 0.25, 2)
    rows = np.linspace(-down, down, height, dtype=np.float32)
    columns = np.linspace(-across, across, width, dtype=np.float32)
    return np.add.outer(rows, columns)


def _colors(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Colors as in photographs: widely spread brightness, weak and mostly blue-yellow color (Ruderman 1998)."""
    brightness = 0.4 * np.exp2(random.normal(0.0, 1.0, count))
    blue_yellow = random.normal(0.02, 0.11, count)
    red_green = random.normal(0.01, 0.05, count)
    red = 1 + blue_yellow + red_green
    green = 1 + blue_yellow - red_green
    blue = 1 - 2 * blue_yellow
    return np.clip(brightness[:, None] * np.stack([red, green, blue], axis=1), 0.0, 1.0).astype(np.float32)
