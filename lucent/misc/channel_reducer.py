"""Fewer channels: decompositions of scikit-learn over the channel axis of activations."""

from __future__ import annotations

import inspect
import math
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError, suggestion
from lucent.util import optional

if TYPE_CHECKING:
    from typing_extensions import Self

_Acts = TypeVar("_Acts", np.ndarray, Tensor)


class ChannelReducer:
    """Reduces the channels of activations, position by position.

    >>> acts = torch.rand(2, 64, 7, 7)
    >>> reducer = ChannelReducer(3, "PCA")
    >>> reducer.fit_transform(acts).shape
    torch.Size([2, 3, 7, 7])
    >>> reducer.components.shape
    (3, 64)

    Channels are the last axis of an array and axis 1 of a tensor, `(B, C, ...)`; with `dim` each
    method takes them from another one. The result is of the kind, dtype and device of what came in,
    without a gradient. What the algorithm learned, such as `components_`, is an attribute here,
    with the underscore or without.

    Args:
        n_components: number of channels to reduce to, at least 1.
        reduction_alg: name of a class in `sklearn.decomposition`, or any class that is made with
            `n_components=` and has `fit` and `fit_transform`, such as `umap.UMAP`.
        **kwargs: options of that class, such as `random_state=0`.

    Attributes:
        n_components: as given.

    Raises:
        InputError: the number or the algorithm is not what is asked for.
        MissingExtra: the algorithm is given by name and scikit-learn is not installed.

    Source: Lucid, `ChannelReducer` (https://github.com/tensorflow/lucid).
    """

    def __init__(
        self, n_components: int = 3, reduction_alg: str | type = "NMF", **kwargs: Any
    ) -> None:
        self.n_components = _checked_number(n_components)
        self._reducer = _algorithm(reduction_alg)(n_components=self.n_components, **kwargs)
        self._is_fit = False

    def fit(self, acts: np.ndarray | Tensor, *, dim: int | None = None) -> Self:
        """Learn the reduction.

        Args:
            acts: array `(..., C)` or tensor `(B, C, ...)`; NMF takes no negative values, see
                `posneg`.
            dim: where the channels are, if elsewhere.

        Raises:
            InputError: the activations have too few axes, are not finite, or do not suit the
                algorithm.
        """
        self._call("fit", acts, dim)
        self._is_fit = True
        return self

    def fit_transform(self, acts: _Acts, *, dim: int | None = None) -> _Acts:
        """Learn the reduction and return the reduced activations.

        Args:
            acts: array `(..., C)` or tensor `(B, C, ...)`.
            dim: where the channels are, if elsewhere.

        Raises:
            InputError: as for `fit`.
        """
        reduced = self._call("fit_transform", acts, dim)
        self._is_fit = True
        return reduced

    def transform(self, acts: _Acts, *, dim: int | None = None) -> _Acts:
        """Return the activations after the reduction learned before.

        Args:
            acts: array `(..., C)` or tensor `(B, C, ...)` with as many channels as learned from.
            dim: where the channels are, if elsewhere.

        Raises:
            InputError: nothing was learned, or the activations do not suit what was.
        """
        self._check_fit("transform")
        return self._call("transform", acts, dim)

    def inverse_transform(self, reduced: _Acts, *, dim: int | None = None) -> _Acts:
        """Return activations with all channels that reduce to these.

        Args:
            reduced: array `(..., n_components)` or tensor `(B, n_components, ...)`.
            dim: where the channels are, if elsewhere.

        Raises:
            InputError: nothing was learned, or the algorithm has no inverse.
        """
        self._check_fit("inverse_transform")
        return self._call("inverse_transform", reduced, dim)

    def __call__(self, acts: _Acts, *, dim: int | None = None) -> _Acts:
        """Return the reduced activations; the first call learns the reduction."""
        return (self.transform if self._is_fit else self.fit_transform)(acts, dim=dim)

    def __getattr__(self, name: str) -> Any:
        learned = name.rstrip("_") + "_"
        # While a copy or a pickle is being made, there is no reducer yet.
        reducer = vars(self).get("_reducer")
        if hasattr(reducer, learned):
            return getattr(reducer, learned)
        hint = suggestion(name, dir(self))
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}. {hint}".strip())

    def __dir__(self) -> list[str]:
        reducer = vars(self).get("_reducer")
        learned = [n for n in dir(reducer) if n.endswith("_") and not n.startswith("_")]
        return [*{*super().__dir__(), *(name[:-1] for name in learned if hasattr(reducer, name))}]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._reducer!r})"

    def _check_fit(self, method: str) -> None:
        if not self._is_fit:
            raise InputError(
                f"{self!r} has learned nothing yet: call fit or fit_transform before {method}."
            )

    def _call(self, method: str, acts: Any, dim: int | None) -> Any:
        name = type(self._reducer).__name__
        function = getattr(self._reducer, method, None)
        if function is None:
            raise InputError(f"{name} has no {method}: it cannot do more than fit_transform.")
        rows, shape, dim = _rows(acts, dim)
        if method.startswith("fit"):
            self._dtype = rows.dtype
        else:
            # Some algorithms refuse another precision than the one that they learned in.
            rows = rows.astype(self._dtype, copy=False)
        try:
            found = function(rows)
        except ValueError as error:
            hint = " If negative values are the reason, give it posneg(acts)."
            raise InputError(
                f"{name}.{method} failed on {_described(rows)}: {error}"
                + (hint if rows.size and rows.min() < 0 else "")
            ) from error
        return found if method == "fit" else _restored(found, shape, dim, acts)


def posneg(acts: _Acts, *, dim: int | None = None) -> _Acts:
    """Return the positive parts of all channels, and after them the negative parts as positive.

    >>> posneg(np.array([[1.0, -2.0]]))
    array([[1., 0., 0., 2.]])

    Args:
        acts: array `(..., C)` or tensor `(B, C, ...)`.
        dim: where the channels are, if elsewhere.
    """
    axis = _checked_dim(acts, dim)
    if isinstance(acts, Tensor):
        return torch.cat([acts.clamp(min=0), (-acts).clamp(min=0)], dim=axis)
    return np.concatenate([np.maximum(acts, 0), np.maximum(-acts, 0)], axis=axis)


def _rows(acts: Any, dim: int | None) -> tuple[np.ndarray, tuple[int, ...], int]:
    """Return the vector of each position as a row (n, C), their shape before, and the axis."""
    dim = _checked_dim(acts, dim)
    if isinstance(acts, Tensor):
        # NumPy has no bfloat16, and scikit-learn makes double precision of half precision.
        single = acts.dtype in (torch.float16, torch.bfloat16)
        acts = acts.detach().to("cpu", torch.float32 if single else None).numpy()
    elif acts.dtype == np.float16:
        acts = acts.astype(np.float32)
    if not np.issubdtype(acts.dtype, np.floating):
        acts = acts.astype(np.float64)
    vectors = np.moveaxis(acts, dim, -1)
    rows = vectors.reshape(math.prod(vectors.shape[:-1]), vectors.shape[-1])
    if not np.isfinite(rows).all():
        n = int((~np.isfinite(rows)).sum())
        raise InputError(f"{n} of the {rows.size} activations are NaN or infinite.")
    return rows, vectors.shape[:-1], dim


def _restored(rows: np.ndarray, shape: tuple[int, ...], dim: int, like: Any) -> Any:
    """Return rows as activations of the shape, kind and dtype that came in."""
    vectors = np.moveaxis(np.asarray(rows).reshape(*shape, -1), -1, dim)
    if isinstance(like, Tensor):
        dtype = like.dtype if like.is_floating_point() else None
        return torch.from_numpy(np.ascontiguousarray(vectors)).to(like.device, dtype)
    return vectors.astype(like.dtype) if np.issubdtype(like.dtype, np.floating) else vectors


def _checked_dim(acts: Any, dim: int | None) -> int:
    if not isinstance(acts, np.ndarray | Tensor):
        raise InputError(
            f"Activations are a NumPy array or a tensor, not a {type(acts).__name__}: use "
            "numpy.stack or torch.stack first."
        )
    if dim is None:
        dim = 1 if isinstance(acts, Tensor) else -1
    if acts.ndim < 2 or not -acts.ndim <= dim < acts.ndim:
        raise InputError(
            f"Activations of shape {tuple(acts.shape)} have no channels in axis {dim}: give an "
            "array (..., C), a tensor (B, C, ...), or the axis by dim=."
        )
    return dim


def _checked_number(n_components: Any) -> int:
    whole = isinstance(n_components, Integral) and not isinstance(n_components, bool)
    if not whole or n_components < 1:
        raise InputError(f"n_components={n_components!r} has to be a whole number of at least 1.")
    return int(n_components)


def _algorithm(given: Any) -> type:
    if isinstance(given, type):
        if not (hasattr(given, "fit") and hasattr(given, "fit_transform")):
            raise InputError(
                f"reduction_alg={given.__name__} is no reduction: a class with the methods fit and "
                "fit_transform is needed, such as sklearn.decomposition.NMF."
            )
        return given
    decomposition = optional("sklearn.decomposition", "reduce")
    classes = {name: getattr(decomposition, name) for name in decomposition.__all__}
    known = {
        name: found
        for name, found in classes.items()
        if isinstance(found, type) and "n_components" in inspect.signature(found).parameters
    }
    if given not in known:
        hint = suggestion(str(given), known) or suggestion(str(given).upper(), known)
        raise InputError(
            f"reduction_alg={given!r} is no decomposition of scikit-learn. {hint} "
            f"It is a class, or the name of one of {', '.join(sorted(known))}."
        )
    return known[given]


def _described(rows: np.ndarray) -> str:
    size = f"{rows.shape[0]} positions of {rows.shape[1]} channels"
    return f"{size}, values {rows.min():.3g} to {rows.max():.3g}" if rows.size else size
