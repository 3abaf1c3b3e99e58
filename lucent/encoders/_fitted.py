"""Directions, probes and decompositions fitted elsewhere, as modules that autograd can follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError

#: Rows that a decomposition is tried on, in the range that many of them need: 0 to 1.
_N_TRIED = 32
#: Relative; scikit-learn stops its NMF when a step changes less than 1e-4 of the error.
_TOLERANCE = 1e-2
#: Steps of the accelerated gradient: the distance falls with the square of their number.
_N_STEPS = 200


def module_of_fitted(encoder: Any) -> nn.Module | None:
    """Return a module that computes what something fitted does, None if it is nothing fitted.

    Args:
        encoder: directions (C,) or (K, C); a linear model, with `coef_` and `intercept_`; or a
            decomposition, with `transform` and `components_`, of scikit-learn or a ChannelReducer.

    Raises:
        InputError: it has not been fitted, computes neither a linear map nor an NMF, or has more
            axes than directions.
    """
    if isinstance(encoder, Tensor | np.ndarray):
        if encoder.ndim not in (1, 2):
            raise InputError(
                f"The directions have the shape {tuple(encoder.shape)}, expected is (C,) for one, "
                "or (K, C)."
            )
        return _linear(np.atleast_2d(np.asarray(torch.as_tensor(encoder).detach().cpu().double())))
    if isinstance(coefficients := getattr(encoder, "coef_", None), np.ndarray):
        return _linear(np.atleast_2d(coefficients), np.ravel(encoder.intercept_))
    if not hasattr(type(encoder), "transform") or hasattr(encoder, "encode"):
        return None
    components = getattr(encoder, "components_", None)
    if not isinstance(components, np.ndarray):
        raise InputError(
            f"{encoder!r} has no components_ to encode with: fit it to activations first. One "
            "without components, such as UMAP or t-SNE, is no function of an activation."
        )
    tried = np.random.default_rng(0).random((_N_TRIED, components.shape[1]))
    wanted = np.asarray(encoder.transform(tried), dtype=np.float64)
    if (components >= 0).all() and _solves(fit := NonNegative(components), tried, wanted):
        return fit
    offset = np.asarray(encoder.transform(np.zeros_like(tried[:1])))[0]
    made = _linear((np.asarray(encoder.transform(np.eye(tried.shape[1]))) - offset).T, offset)
    if not np.allclose(made(torch.from_numpy(tried)).numpy(), wanted, _TOLERANCE, _TOLERANCE):
        raise InputError(
            f"{encoder!r} computes neither a linear map nor a non-negative least squares fit, so "
            "its gradient is not known: write what it computes as a function of a tensor (M, C)."
        )
    return made


def _linear(weight: np.ndarray, bias: np.ndarray | None = None) -> nn.Linear:
    n_latents, width = weight.shape
    made = nn.Linear(width, n_latents, bias=bias is not None, dtype=torch.float64)
    made.weight.data = torch.tensor(weight, dtype=torch.float64)
    if bias is not None:
        made.bias.data = torch.tensor(bias, dtype=torch.float64).expand(n_latents).clone()
    return made.requires_grad_(False)


class NonNegative(nn.Module):
    """The weights h >= 0 that minimise |x - h W|, what NMF gives for new activations.

    The gradient is that of the solution, in which the weights that are 0 stay 0; where the solution
    is not found exactly, it is that of one step towards it.

    Args:
        components: W, (K, C), non-negative.

    Source: Beck & Teboulle 2009, A Fast Iterative Shrinkage-Thresholding Algorithm
    (https://doi.org/10.1137/080716542).
    """

    components: Tensor
    gram: Tensor

    def __init__(self, components: np.ndarray) -> None:
        super().__init__()
        matrix = torch.tensor(components, dtype=torch.float64)
        self.register_buffer("components", matrix)
        self.register_buffer("gram", matrix @ matrix.T)
        self._rate = 1 / float(torch.linalg.eigvalsh(self.gram)[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return how much each component is missing, negative where it is too much, and weights.

        Args:
            x: (M, C).
        """
        match = x @ self.components.T
        with torch.no_grad():
            near = self._approximate(match)
            # Some are still on their way to 0, where their best weight is below.
            active = (self._solved((near > 0).to(x.dtype), match) > 0).to(x.dtype)
            exact = self._is_best(self._solved(active, match), match)
        weights = self._solved(active * exact, match)
        step = (near + self._rate * (match - near @ self.gram)).clamp_min(0)
        weights = torch.where(exact, weights, step)
        return match - weights @ self.gram, weights

    def _solved(self, active: Tensor, match: Tensor) -> Tensor:
        """Return the best weights of active components; those of the others are 0."""
        # Without the second factor the others would be 0 but for rounding.
        equations = active[:, :, None] * self.gram * active[:, None] + torch.diag_embed(1 - active)
        weights: Tensor = torch.linalg.solve_ex(equations, active * match)[0]
        return weights

    def _is_best(self, weights: Tensor, match: Tensor) -> Tensor:
        """Tell by the conditions of Karush, Kuhn and Tucker for whom weights are best, (M, 1)."""
        tolerance = torch.finfo(match.dtype).eps ** 0.5 * match.abs().amax(1, keepdim=True)
        missing = match - weights @ self.gram
        return ((weights >= 0) & (missing <= tolerance)).all(1, keepdim=True)

    def _approximate(self, match: Tensor) -> Tensor:
        weights = ahead = torch.zeros_like(match)
        momentum = 1.0
        for _ in range(_N_STEPS):
            last, weights = weights, (ahead - self._rate * (ahead @ self.gram - match)).clamp_min(0)
            before, momentum = momentum, (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = weights + (before - 1) / momentum * (weights - last)
        return weights


def _solves(module: NonNegative, rows: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether weights found elsewhere leave as little of the rows as this module's do."""
    components = module.components.numpy()
    _, found = module(torch.from_numpy(rows))
    own, theirs = (np.linalg.norm(rows - h @ components) for h in (found.numpy(), wanted))
    return bool(np.isclose(own, theirs, rtol=_TOLERANCE))
