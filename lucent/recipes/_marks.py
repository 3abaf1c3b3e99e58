"""What recipes paint on pictures: frames around positions, bars under icons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lucent.misc.io.overlays import AGAINST, FOR
from lucent.misc.io.pictures import coloured


def framed(picture: np.ndarray, x: int, y: int, grid: Sequence[int]) -> np.ndarray:
    """Return a picture with a white frame around one of its positions.

    Args:
        picture: (H, W, C).
        x: column of the position.
        y: its row.
        grid: number of rows and of columns.
    """
    (top, bottom), (left, right) = (
        (n * side // cells, (n + 1) * side // cells)
        for n, side, cells in zip((y, x), picture.shape, grid, strict=False)
    )
    made = picture.copy()
    made[top:bottom, left:right] = 1
    made[top + 1 : bottom - 1, left + 1 : right - 1] = picture[
        top + 1 : bottom - 1, left + 1 : right - 1
    ]
    return made


def barred(icon: np.ndarray, share: float) -> np.ndarray:
    """Return an icon over a bar: orange for a positive share, blue for a negative one.

    Args:
        icon: (H, W, C) in [0, 1].
        share: -1 to 1; the length of the bar as a share of the width.

    Returns:
        (H', W, 3).
    """
    picture = coloured(icon)
    picture = np.broadcast_to(picture[..., :3], (*picture.shape[:2], 3))
    height, width = picture.shape[:2]
    bar = np.ones((max(2, height // 12), width, 3), np.float32)
    bar[1:, : round(abs(share) * width)] = FOR if share > 0 else AGAINST
    return np.concatenate([picture, bar]).astype(np.float32)
