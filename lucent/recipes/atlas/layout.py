"""From activations to places in the plane: whitening, reduction, clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucent.errors import InputError
from lucent.util import optional

#: Below these percentiles and above them, points are drawn in, as in Lucid, ...
_PERCENTILES = (1, 99)
#: ... but for this share of what lies between them.
_MARGIN = 0.1
#: Of UMAP, unless given. Points that keep apart fill the plane: of 2,800 samples of the embedded
#: network's mixed4b, 48 cells of 20 x 20 hold five or more with a distance of 0.01, and 124 with
#: 0.8, while neighbouring cells agree about their class more often.
_UMAP = {"n_neighbors": 15, "min_dist": 0.9, "metric": "cosine"}
#: UMAP's graph needs more points than it has eigenvectors.
_FEWEST = 6

Reduction = Callable[[np.ndarray, int, dict[str, Any]], np.ndarray]


def whitening(second_moment: np.ndarray, regularization: float = 0.1) -> NDArray[np.float64]:
    """Return a matrix W such that the products of vectors times W treat all directions alike.

    It is (M + r trace(M) / C I) ** -1/2 of the second moment M, symmetric: the numbers of x W are
    uncorrelated, and x W · y W = x S y with S = W W, the whitening of an activation atlas.

    >>> whitening(np.diag([4.0, 1.0]), 0.0)
    array([[0.5, 0. ],
           [0. , 1. ]])

    Args:
        second_moment: (C, C), the mean of the outer products of activations with themselves.
        regularization: r, 0 or more: without it directions in which nothing happens count most.

    Raises:
        InputError: the matrix is none of that kind, or a direction is empty and r is 0.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    moment = np.asarray(second_moment, np.float64)
    if moment.ndim != 2 or moment.shape[0] != moment.shape[1] or not np.isfinite(moment).all():
        raise InputError(
            f"second_moment has shape {moment.shape}: expected a finite matrix (C, C)."
        )
    values, vectors = np.linalg.eigh((moment + moment.T) / 2)
    values = np.maximum(values, 0) + regularization * values.clip(0).mean()
    if not regularization >= 0 or values[0] <= len(values) * np.finfo(float).eps * values[-1]:
        raise InputError(
            f"regularization={regularization} is too small: in some direction there are no "
            "activations at all. Take 0.1."
        )
    whitened: NDArray[np.float64] = (vectors / np.sqrt(values)) @ vectors.T
    return whitened


def second_moment(vectors: np.ndarray) -> NDArray[np.float64]:
    """Return the mean of the outer products of vectors with themselves, (C, C).

    Args:
        vectors: (n, C).
    """
    moment = np.zeros((vectors.shape[1],) * 2)
    for first in range(0, len(vectors), 8192):  # of memory-mapped files never all at once
        some = np.asarray(vectors[first : first + 8192], np.float64)
        moment += some.T @ some
    return moment / len(vectors)


def reduced(
    vectors: np.ndarray,
    method: str = "UMAP",
    *,
    dimensions: int = 2,
    seed: int = 0,
    **options: Any,
) -> NDArray[np.float32]:
    """Return vectors as points of one or two dimensions, near to each other where they are alike.

    Args:
        vectors: (n, C).
        method: a name out of `LAYOUTS`.
        dimensions: 1 or 2.
        seed: the same one gives the same points on one machine.
        options: further arguments of umap.UMAP, sklearn.manifold.TSNE or sklearn.decomposition.PCA.

    Returns:
        (n, dimensions).

    Raises:
        InputError: there is no such method, or there are too few vectors.
        MissingExtra: umap-learn or scikit-learn is not installed.
    """
    if method not in LAYOUTS:
        raise InputError(f"layout={method!r} is unknown: it is one of {', '.join(LAYOUTS)}.")
    if len(vectors) < _FEWEST:
        raise InputError(
            f"{len(vectors)} vectors are too few for a layout: give at least {_FEWEST}."
        )
    points = LAYOUTS[method](vectors, dimensions, {"random_state": seed, **options})
    return np.asarray(points, np.float32)


def _umap(vectors: np.ndarray, dimensions: int, options: dict[str, Any]) -> np.ndarray:
    wanted = {**_UMAP, **options}
    wanted["n_neighbors"] = min(wanted["n_neighbors"], len(vectors) - 1)
    # More than one thread would make the result depend on how they are scheduled.
    reducer = optional("umap", "whole").UMAP(n_components=dimensions, n_jobs=1, **wanted)
    points: np.ndarray = reducer.fit_transform(vectors)
    return points


def _tsne(vectors: np.ndarray, dimensions: int, options: dict[str, Any]) -> np.ndarray:
    wanted = {"metric": "cosine", "perplexity": 30.0, **options}
    # scikit-learn takes a perplexity below the number of points; a third is what it is made for.
    wanted["perplexity"] = min(wanted["perplexity"], (len(vectors) - 1) / 3)
    reducer = optional("sklearn.manifold", "whole").TSNE(dimensions, n_jobs=1, **wanted)
    points: np.ndarray = reducer.fit_transform(vectors)
    return points


def _pca(vectors: np.ndarray, dimensions: int, options: dict[str, Any]) -> np.ndarray:
    reducer = optional("sklearn.decomposition", "whole").PCA(dimensions, **options)
    points: np.ndarray = reducer.fit_transform(vectors)
    return points


#: What `layout` of an atlas may be.
LAYOUTS: dict[str, Reduction] = {"UMAP": _umap, "TSNE": _tsne, "PCA": _pca}


def normalized(points: np.ndarray) -> NDArray[np.float32]:
    """Return points scaled to [0, 1], outliers of each axis drawn in first.

    Outside of the percentiles 1 and 99, a tenth of what lies between them is left.

    Args:
        points: (n, dimensions).

    Returns:
        (n, dimensions), with 0 and 1 in each; 0.5 where all points are the same.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    low, high = np.percentile(np.asarray(points, np.float64), _PERCENTILES, axis=0)
    margin = _MARGIN * (high - low)
    drawn = np.clip(points, low - margin, high + margin)
    low, span = drawn.min(0), np.ptp(drawn, axis=0)
    scaled = np.where(span > 0, (drawn - low) / np.where(span > 0, span, 1), 0.5)
    return scaled.astype(np.float32)
