"""Known-truth scores: do pictures of SynthNet's classes show what the classes are made of?

Every function takes pictures as `render_vis` returns them: (B, H, W, 3) in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lucent.modelzoo.synthnet._draw import Array, hue_distance, rgb_to_hue

# Wavelengths in pixels between which stripes are looked for: those of the classes, 6.5 to 21, with
# room for a render that misses by half.
SHORTEST, LONGEST = 4.0, 32.0


@dataclass(frozen=True)
class Wave:
    """The strongest wave of a picture.

    Attributes:
        orientation: angle of its wave vector in degrees, [0, 180), x right and y down.
        wavelength: in pixels.
        coherence: 0 where power has no preferred orientation, 1 where it has only one.
    """

    orientation: float
    wavelength: float
    coherence: float


def power_spectrum(pictures: Array) -> Array:
    """Return the Fourier power of every picture, summed over colours, shape (B, H, W)."""
    varying = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    return (np.abs(np.fft.fft2(varying, axes=(1, 2))) ** 2).sum(axis=-1)


def _frequencies(height: int, width: int) -> tuple[Array, Array]:
    """Return radius (cycles per pixel) and angle (radians) of every Fourier coefficient."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    return np.hypot(rows, columns), np.arctan2(rows, columns)


def high_frequency_share(pictures: Array) -> Array:
    """Return the share of power above 0.25 cycles per pixel, shape (B,).

    >>> board = np.indices((1, 8, 8)).sum(axis=0)[..., None] % 2
    >>> high_frequency_share(np.repeat(board, 3, axis=-1))
    array([1.])
    """
    power = power_spectrum(pictures)
    radius, _ = _frequencies(*power.shape[1:])
    return (power * (radius > 0.25)).sum(axis=(1, 2)) / power.sum(axis=(1, 2))


def strongest_wave(picture: Array) -> Wave:
    """Return the strongest wave of one picture (H, W, 3), as a structure tensor finds it.

    The orientation is the mean over all power between `SHORTEST` and `LONGEST` with doubled angles,
    the wavelength is that of the strongest ring within 20 degrees of it.
    """
    height, width = picture.shape[:2]
    window = np.hanning(height)[:, None, None] * np.hanning(width)[None, :, None]
    varying = (picture - picture.mean(axis=(0, 1))) * window
    radius, angle = _frequencies(height, width)
    power = power_spectrum(varying[None])[0]
    power = power * ((radius > 1 / LONGEST) & (radius < 1 / SHORTEST))
    mean = (power * np.exp(2j * angle)).sum()
    orientation = np.rad2deg(np.angle(mean)) / 2
    along = orientation_distance(np.rad2deg(angle), orientation) < 20
    # Rings one coefficient wide; the peak is refined by the centre of mass of three.
    ring = np.round(radius * height).astype(int)
    profile = np.bincount(ring.ravel(), (power * along).ravel())
    peak = max(int(profile.argmax()), 1)
    near = np.arange(peak - 1, min(peak + 2, len(profile)))
    wavelength = height * profile[near].sum() / (profile[near] * near).sum()
    return Wave(float(orientation % 180), float(wavelength), float(abs(mean) / power.sum()))


def orientation_distance(first: Array | float, second: Array | float) -> Array:
    """Return the angle between orientations in degrees, [0, 90].

    >>> float(orientation_distance(175, 5))
    10.0
    """
    return np.abs((np.asarray(first) - second + 90) % 180 - 90)


def hue_match(picture: Array, hues: tuple[float, float]) -> tuple[float, float]:
    """Return how well one picture (H, W, 3) shows two hues; pixels weigh by their chroma squared.

    Args:
        hues: in degrees.

    Returns:
        The mean distance to the nearer hue in degrees, and the share of the picture within 40
        degrees of the hue that is rarer there, [0, 0.5].
    """
    pixels = picture.reshape(-1, 3)
    weight = np.ptp(pixels, axis=-1) ** 2
    distance = hue_distance(rgb_to_hue(pixels)[:, None], np.asarray(hues))
    nearest = distance.argmin(axis=1)
    close = distance.min(axis=1) < 40
    shares = [(weight * (close & (nearest == hue))).sum() / weight.sum() for hue in (0, 1)]
    return float((weight * distance.min(axis=1)).sum() / weight.sum()), float(min(shares))
