"""The strongest weights: of two convolutions they are those of the kernels."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent.modelzoo import ModelSpec
from lucent.report import connections as module
from lucent.report.connections import STRONGEST, connections


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(), nn.Conv2d(20, 13, (3, 5))).eval()
    made.spec = ModelSpec("two layers")
    return made


def expected(weights, sign):
    """Sums and places by NumPy, of weights (n, m, h, w)."""
    sums = np.clip(sign * weights, 0, None).sum((2, 3))
    order = np.argsort(-sums, axis=1, kind="stable")[:, :STRONGEST]
    return sign * np.take_along_axis(sums, order, 1), order


@pytest.mark.parametrize("chunk", [5, 64])
def test_they_are_the_largest_sums_of_either_sign(model, chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    kernels = model[2].weight.detach().numpy()
    found = connections(model, ("0", range(20)), ("2", range(13)))
    for parts, weights in ((found.incoming, kernels), (found.outgoing, kernels.swapaxes(0, 1))):
        for part, sign in zip(parts, (1, -1), strict=True):
            values, order = expected(weights, sign)
            assert np.allclose(part.values, values, atol=1e-5)
            assert part.units.tolist() == order.tolist()
            assert np.allclose(part.kernels, weights[np.arange(len(order))[:, None], order])


def test_places_are_those_among_the_units_of_the_site(model):
    sources, targets = [3, 4, 11], [2, 12]
    kernels = model[2].weight.detach().numpy()[targets][:, sources]
    found = connections(model, ("0", sources), ("2", targets))
    values, order = expected(kernels, 1)
    assert np.allclose(found.incoming[0].values, values, atol=1e-5)
    assert found.incoming[0].units.tolist() == order.tolist()
    values, order = expected(kernels.swapaxes(0, 1), -1)
    assert np.allclose(found.outgoing[1].values, values, atol=1e-5)


def test_a_unit_has_no_connections_of_weight_zero(model):
    model[2].weight.data[:, 1:] = 0
    model[2].weight.data[:, 0] = 1
    found = connections(model, ("0", range(20)), ("2", range(13)))
    places, values, kernels = found.incoming[0].of_unit(0)
    assert (places, values) == ([0], [pytest.approx(15)])
    assert kernels.shape == (1, 3, 5)
    assert found.incoming[1].of_unit(0)[0] == []


def test_kernels_of_several_sizes_are_padded_to_the_largest(model, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 1)
    model[2].weight.data[1:, :, [0, 2]] = 0
    model[2].weight.data[1:, :, :, [0, 1, 3, 4]] = 0
    found = connections(model, ("0", range(20)), ("2", range(13)))
    units, _, kernels = found.incoming[0].of_unit(5)
    weights = model[2].weight.detach().numpy()
    assert kernels.shape[1:] == (3, 5)
    assert np.allclose(kernels, weights[5, units])


def test_layers_without_positions_are_connected_too():
    model = tiny.Chain()
    found = connections(model, ("conv2", [0]), ("head", [0, 1]))
    assert found.incoming[0].values.flatten().tolist() == [1, 0]
    assert found.incoming[1].values.flatten().tolist() == [0, -1]


def test_layers_that_are_not_connected_have_none(model):
    assert connections(model, ("2", [0]), ("0", [0])) is None
    model[2].weight.data[:] = 0
    assert connections(model, ("0", [0, 1]), ("2", [0])) is None


def test_the_model_is_as_before(model):
    before = tiny.condition(model)
    connections(model, ("0", range(20)), ("2", range(13)))
    assert tiny.condition(model) == before
