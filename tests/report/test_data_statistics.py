"""Numbers on the pages of units: they are those of the activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lucent.collect.statistics import Histogram, Moments, Products
from lucent.report.statistics import facts_of, histogram_of, number, similar_to


def drawn(values):
    """The histogram of some numbers, as the page of a unit has it."""
    values = torch.as_tensor(values, dtype=torch.float64)
    counts = Histogram.of(values[None]).counts[0]
    return histogram_of(counts, Histogram.edges(), float(values.min()), float(values.max()))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).standard_normal(5000),
        np.random.default_rng(1).standard_normal(5000).clip(0),
        -np.random.default_rng(2).gamma(2, 3, 500),
        np.random.default_rng(3).gamma(2, 3, 500) + 100,
        np.float64([-4e7, 1e-30, 3e7]),
        np.zeros(10),
    ],
    ids=["normal", "rectified", "negative", "far", "beyond all bins", "silent"],
)
def test_the_bars_count_every_activation_once(values):
    found = drawn(values)
    assert sum(found.counts) == len(values)
    assert len(found.edges) == len(found.counts) + 1
    assert list(found.edges) == sorted(found.edges)
    within = [
        np.count_nonzero((values >= low) & (values < high))
        for low, high in zip(found.edges, found.edges[1:], strict=False)
    ]
    if max(abs(values)) < 2**24:
        assert list(found.counts) == within
    assert found.counts[0] > 0
    assert found.counts[-1] > 0
    assert len(found.counts) <= 41


def test_the_bar_of_zero_holds_what_is_too_small_to_tell():
    found = drawn(np.concatenate([np.zeros(70), np.full(5, 1e-4), np.full(25, 8.0)]))
    assert found.counts[found.zero] == 75
    assert found.edges[found.zero] < 0 < found.edges[found.zero + 1] < 0.01
    assert (found.low, found.high) == (0, 8)


def test_there_is_no_bar_of_zero_where_nothing_is_near_it():
    assert drawn(np.full(3, 5.0)).zero is None
    assert drawn(np.full(3, -5.0)).zero is None


def test_bars_grow_by_a_constant_factor():
    found = drawn(np.geomspace(0.01, 10, 1000))
    edges = np.array(found.edges)
    edges = edges[edges > 0]
    assert np.allclose(edges[1:] / edges[:-1], 2**0.5)


def test_similar_units_are_those_that_correlate():
    acts = np.random.default_rng(0).standard_normal((200, 12)) @ np.random.default_rng(1).random(
        (12, 12)
    )
    acts[:, 3] = 7  # never changes
    order, found = similar_to(Products.of(torch.from_numpy(acts)).covariance)
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.corrcoef(acts.T))
    np.fill_diagonal(expected, -2)
    assert order.shape == (12, 8)
    for unit, places in enumerate(order.tolist()):
        assert unit not in places
        best = np.sort(expected[unit])[::-1][:8]
        assert np.allclose(found[unit], best)
        assert np.allclose(expected[unit][places], best)


def test_a_lonely_unit_has_no_similar_ones():
    order, found = similar_to(torch.ones(1, 1))
    assert order.shape == found.shape == (1, 0)


def test_facts_are_those_of_numpy():
    values = np.random.default_rng(4).standard_normal(1000)
    facts = {fact.name: fact.value for fact in facts_of(Moments.of(torch.tensor(values[None])), 0)}
    assert facts["Mean"] == number(values.mean())
    assert facts["Standard deviation"] == number(values.std())
    assert facts["Largest"] == number(values.max())
    assert facts["Zero or below"] == f"{100 * (values <= 0).mean():.3g} % of positions"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0, "0"), (1234.5, "1230"), (99.96, "100"), (1e-5, "1e-05"), (2.5e7, "2.5e+07")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text
