"""NumPy twins of the scores: plain loops over images and positions, from the definitions."""

from __future__ import annotations

import itertools

import numpy as np


class Pass:
    """What objectives get in the place of a forward pass: `T` of given activations."""

    def __init__(self, labels=(), **acts):
        self.acts, self.labels, self.state, self.step = acts, labels, {}, 0

    def __call__(self, layer):
        return self.acts[layer]


def positions(acts: np.ndarray) -> list[np.ndarray]:
    """The vector (C,) of every image at every position."""
    return list(np.moveaxis(acts, 1, -1).reshape(-1, acts.shape[1]))


def weighted(acts: np.ndarray, weight: np.ndarray) -> float:
    return float(np.mean([vector * weight for vector in positions(acts)]))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)


def along(acts: np.ndarray, direction: np.ndarray, power: float | None) -> float:
    return float(np.mean([_dot_cosine(vector, direction, power) for vector in positions(acts)]))


def _dot_cosine(a: np.ndarray, b: np.ndarray, power: float | None) -> float:
    if power is None:
        return cosine(a, b)
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = (1e-4 + np.sqrt(np.sum(a**2))) * (1e-4 + np.sqrt(np.sum(b**2)))
    return dot if power == 0 else dot * max(0.1, dot / lengths) ** power


def tensor_along(acts: np.ndarray, direction: np.ndarray, power: float | None) -> float:
    _, height, width = direction.shape
    top, left = (acts.shape[2] - height) // 2, (acts.shape[3] - width) // 2
    values = [
        _dot_cosine(image[:, top + i, left + j], direction[:, i, j], power)
        for image in acts
        for i in range(height)
        for j in range(width)
    ]
    return float(np.mean(values))


def whitened(acts: np.ndarray, direction: np.ndarray, whitening: np.ndarray, power: float) -> float:
    v = np.array([sum(direction * whitening[:, column]) for column in range(len(direction))])
    values = []
    for a in positions(acts):
        mean = np.mean(a * v)
        values.append(mean * max(0.1, mean / (1e-4 + np.linalg.norm(a))) ** power)
    return float(np.mean(values))


def total_variation(acts: np.ndarray) -> float:
    total = 0.0
    for axis in range(2, acts.ndim):
        moved = np.moveaxis(acts, axis, 0)
        total += sum(np.abs(b - a).sum() for a, b in itertools.pairwise(moved))
    return total


def blur(image: np.ndarray, size: int) -> np.ndarray:
    """Weighted mean of the neighbours that exist; the outermost ones of a window count half."""
    radius = size // 2
    out = np.empty_like(image)
    for index in np.ndindex(image.shape):
        total = weights = 0.0
        for offset in itertools.product(range(-radius, radius + 1), repeat=image.ndim - 2):
            spot = tuple(i + d for i, d in zip(index[2:], offset, strict=True))
            if all(0 <= i < n for i, n in zip(spot, image.shape[2:], strict=True)):
                weight = 0.5 if radius in map(abs, offset) else 1.0
                total += weight * image[index[:2] + spot]
                weights += weight
        out[index] = total / weights
    return out


def sharpness(image: np.ndarray) -> float:
    return 0.5 * float(((image - blur(image, 3)) ** 2).sum())


def boundary(
    image: np.ndarray, width: int, color: np.ndarray, mask: np.ndarray | None = None
) -> float:
    height, breadth = image.shape[2:]
    blurred = blur(image, 5)
    total = 0.0
    for b, c, y, x in np.ndindex(image.shape):
        near = min(y, x, height - 1 - y, breadth - 1 - x) < width
        weight = near if mask is None else mask[y, x]
        value = image[b, c, y, x]
        far, off = blurred[b, c, y, x] - value, value - color[c]
        total -= weight * (far**2 + 0.8 * off**2)
    return total


def interpolated(first: np.ndarray, n1: int, second: np.ndarray, n2: int) -> float:
    shares = np.linspace(0, 1, len(first))
    return sum(
        (1 - share) * a[n1].mean() + share * b[n2].mean()
        for share, a, b in zip(shares, first, second, strict=True)
    )


def alignment(acts: np.ndarray, decay_ratio: float) -> float:
    return -sum(
        np.mean((acts[j] - acts[i]) ** 2) / decay_ratio ** (j - i)
        for i, j in itertools.combinations(range(len(acts)), 2)
        if j - i <= 4
    )


def gram(acts: np.ndarray) -> np.ndarray:
    return np.stack(
        [np.mean([np.outer(v, v) for v in positions(image[None])], axis=0) for image in acts]
    )


def diversity(acts: np.ndarray) -> float:
    grams = [matrix / np.linalg.norm(matrix) for matrix in gram(acts)]
    pairs = itertools.permutations(range(len(acts)), 2)
    return sum(float(np.sum(grams[i] * grams[j])) for i, j in pairs) / len(acts)


def dot_compare(acts: np.ndarray, image: int, reference: int, power: float) -> float:
    dot = float(np.sum(acts[image] * acts[reference]))
    cos = dot / (1e-6 + np.sqrt(np.sum(acts[image] ** 2)))
    return dot * max(0.1, cos) ** power if power else dot


def l1(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(np.abs(a - b)))


def l2(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))
