"""NumPy twins: what the library computes, written once more from the definitions, in float64."""

from __future__ import annotations

import numpy as np
import torch

COLOR_MATRIX = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


def frequencies(h: int, w: int) -> np.ndarray:
    """Cycles per pixel of each coefficient of a real FFT, (h, w // 2 + 1)."""
    y = np.array([min(k, h - k) / h for k in range(h)])
    x = np.array([k / w for k in range(w // 2 + 1)])
    return np.sqrt(y[:, None] ** 2 + x[None, :] ** 2)


def fft_scale(h: int, w: int, decay_power: float = 1.0) -> np.ndarray:
    floor = 1 / max(h, w)
    return np.sqrt(h * w) / np.where(frequencies(h, w) < floor, floor, frequencies(h, w)) ** (
        decay_power
    )


def fft_image(
    coefficients: np.ndarray, size: tuple[int, int], decay_power: float = 1.0
) -> np.ndarray:
    """Image of coefficients (B, C, H, W // 2 + 1, 2)."""
    scale = as_kept(fft_scale(*size, decay_power))
    spectrum = scale * (coefficients[..., 0] + 1j * coefficients[..., 1])
    return np.fft.irfft2(spectrum, s=size) / 4


def color_matrix(matrix: np.ndarray = COLOR_MATRIX) -> np.ndarray:
    return matrix / np.sqrt((matrix**2).sum(axis=0)).max()


def valid_rgb(image: np.ndarray, matrix: np.ndarray | None = COLOR_MATRIX) -> np.ndarray:
    """(B, C, H, W) to values in [0, 1]; no matrix leaves the channels as they are."""
    if matrix is not None:
        pixels = np.moveaxis(image, 1, -1) @ as_kept(color_matrix(matrix)).T
        image = np.moveaxis(pixels, -1, 1)
    return 1 / (1 + np.exp(-image))


def as_kept(constants: np.ndarray) -> np.ndarray:
    """Images keep their constants in single precision, also when they compute in double."""
    return constants.astype(np.float32).astype(np.float64)


def fft_variances(n: int, sd: float = 0.01) -> np.ndarray:
    """Expected shares of the mean square of a raw n x n image, n even, one per degree of freedom.

    By Parseval, a coefficient z at frequency k adds 2 |s z|^2 / (4 n^2)^2 to the mean square, as it
    stands for -k, too. The columns at 0 and at the Nyquist frequency hold k as well as -k: there,
    the real image keeps one combination of the two, and the self-conjugate ones are real.
    """
    power = (fft_scale(n, n) * sd / (4 * n * n)) ** 2
    inner = np.repeat(2 * power[:, 1:-1], 2)
    pairs = np.repeat(power[1 : n // 2, [0, -1]], 2)
    own = power[[0, 0, n // 2, n // 2], [0, -1, 0, -1]]
    return np.concatenate([inner, pairs, own])


def channel(acts: np.ndarray, n_channel: int, rows: slice = slice(None)) -> float:
    return float(np.mean(acts[rows, n_channel]))


def neuron(acts: np.ndarray, n_channel: int, x: int, y: int, rows: slice = slice(None)) -> float:
    return float(np.mean(acts[rows, n_channel, y, x]))


# Matrices from output to input positions (x, y, 1), counted in pixels from the first pixel.


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def zoomed(zoom: float, size: tuple[int, int]) -> np.ndarray:
    """Enlarges about the centre, (size - 1) / 2."""
    return _about_centre(np.diag([1 / zoom, 1 / zoom, 1.0]), size)


def rotated(degrees: float, size: tuple[int, int]) -> np.ndarray:
    """Turns counter-clockwise as displayed, with y pointing down."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return _about_centre(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), size)


def viewed(canvas: tuple[int, int], window: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Crops whole pixels to a window and enlarges it, as much as fits, in the middle of a size."""
    zoom = min(n / m for n, m in zip(size, window, strict=True))
    y, x = (
        (n - m) // 2 + (m - out / zoom) / 2 + (1 / zoom - 1) / 2
        for n, m, out in zip(canvas, window, size, strict=True)
    )
    return np.array([[1 / zoom, 0, x], [0, 1 / zoom, y], [0, 0, 1]])


def _about_centre(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    y, x = ((n - 1) / 2 for n in size)
    return shift(x, y) @ matrix @ shift(-x, -y)


def warp(image: np.ndarray, into: np.ndarray, size: tuple[int, int], fill: float) -> np.ndarray:
    """Sample (B, C, H, W) bilinearly; pixels outside have the value `fill`."""
    height, width = image.shape[2:]
    out = np.empty((*image.shape[:2], *size))
    for row in range(size[0]):
        for column in range(size[1]):
            x, y, _ = into @ (column, row, 1)
            left, top = int(np.floor(x)), int(np.floor(y))
            out[:, :, row, column] = sum(
                (1 - abs(x - u))
                * (1 - abs(y - v))
                * (image[:, :, v, u] if 0 <= u < width and 0 <= v < height else fill)
                for u in (left, left + 1)
                for v in (top, top + 1)
            )
    return out


# Random numbers that repeat


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def doubles(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=seeded())


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))
