"""The plane of an atlas: whitening, reduction, clipping, and the cells over it."""

from __future__ import annotations

import numpy as np
import pytest

from lucent.errors import InputError
from lucent.recipes.atlas import LAYOUTS, Samples, whitening
from lucent.recipes.atlas._cells import cells
from lucent.recipes.atlas.layout import normalized, reduced, second_moment


def vectors(count, channels, seed=0):
    return np.random.default_rng(seed).standard_normal((count, channels)).astype(np.float32)


def groups(count=20, distance=8.0):
    """Three groups in the directions of three axes, and which each vector belongs to."""
    which = np.arange(3 * count) % 3
    return vectors(3 * count, 5) + distance * np.eye(5, dtype=np.float32)[which], which


def normalized_slowly(points):
    """What Lucid does, but with both margins from the percentiles as they were."""
    made = []
    for column in points.T.astype(np.float64):
        low, high = np.quantile(column, 0.01), np.quantile(column, 0.99)
        tenth = (high - low) / 10
        column = np.minimum(np.maximum(column, low - tenth), high + tenth)
        made.append((column - column.min()) / (column.max() - column.min()))
    return np.stack(made, 1)


def test_the_second_moment_is_that_of_all_rows():
    given = vectors(10_000, 3)
    np.testing.assert_allclose(second_moment(given), given.T.astype(float) @ given / 10_000, 1e-6)


def test_whitened_vectors_have_uncorrelated_numbers_of_one_size():
    mixed = vectors(500, 4) @ vectors(4, 4, 1) + 3
    white = mixed @ whitening(second_moment(mixed), 0.0)
    np.testing.assert_allclose(second_moment(white), np.eye(4), atol=1e-4)


def test_regularized_whitening_is_its_formula():
    moment = second_moment(vectors(50, 4) @ vectors(4, 4, 1))
    found = whitening(moment, 0.3)
    wanted = np.linalg.inv(moment + 0.3 * np.trace(moment) / 4 * np.eye(4))
    np.testing.assert_allclose(found @ found, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("moment", "regularization"),
    [(np.zeros((2, 3)), 0.1), (np.diag([1.0, 0.0]), 0.0), (np.eye(2), -1.0), (np.zeros((2, 2)), 1)],
)
def test_what_cannot_be_whitened_is_refused(moment, regularization):
    with pytest.raises(InputError):
        whitening(moment, regularization)


def test_places_are_clipped_and_scaled_as_the_formula_says():
    points = vectors(400, 2) ** 3
    found = normalized(points)
    np.testing.assert_allclose(found, normalized_slowly(points), atol=1e-6)
    assert found.min(0).tolist() == [0, 0]
    assert found.max(0).tolist() == [1, 1]


def test_points_that_are_all_the_same_lie_in_the_middle():
    points = np.stack([np.arange(9.0), np.full(9, 3.0)], 1)
    assert normalized(points)[:, 1].tolist() == [0.5] * 9


#: As short as scikit-learn lets it be.
SHORT = {"TSNE": {"max_iter": 300}}


@pytest.mark.parametrize("method", LAYOUTS)
def test_every_layout_puts_like_to_like_the_same_every_time(method):
    given, which = groups()
    options = SHORT.get(method, {})
    first, again = (normalized(reduced(given, method, seed=3, **options)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (60, 2)
    far = np.linalg.norm(first[:, None] - first[None], axis=-1) + 9 * np.eye(60)
    assert (which[far.argmin(1)] == which).mean() > 0.95


@pytest.mark.parametrize("method", LAYOUTS)
def test_layouts_have_one_dimension_too_and_take_options_and_few_vectors(method):
    options = SHORT.get(method, {})
    assert reduced(vectors(8, 3), method, dimensions=1, **options).shape == (8, 1)


def test_options_reach_the_layout():
    given, _ = groups()
    near, far = (reduced(given, min_dist=distance, n_neighbors=5) for distance in (0.0, 0.99))
    assert np.abs(near - far).max() > 0.1


def test_layouts_that_do_not_exist_and_too_few_vectors_are_refused():
    with pytest.raises(InputError, match="UMAP, TSNE, PCA"):
        reduced(vectors(9, 3), "umap")
    with pytest.raises(InputError, match="at least 6"):
        reduced(vectors(5, 3))


def test_each_point_is_in_exactly_one_cell():
    edges = np.array([[x, y] for x in np.linspace(0, 1, 9) for y in np.linspace(0, 1, 9)])
    found = cells(edges, 4)
    assert found.counts.sum() == 81
    assert (found.members >= 0).all()
    # The corner between four cells belongs to the one to the right of it and below.
    middle = found.members[(edges == 0.5).all(1)]
    assert (found.columns[middle].item(), found.rows[middle].item()) == (2, 2)
    assert found.counts.tolist() == [*[4, 4, 4, 6] * 3, 6, 6, 6, 9]


def test_cells_with_too_few_samples_are_left_out():
    found = cells(np.array([[0.1, 0.9]] * 3 + [[0.9, 0.1]] * 2 + [[0.9, 0.9]]), 2, 2)
    assert found.rows.tolist() == [0, 1]
    assert found.columns.tolist() == [1, 0]
    assert found.counts.tolist() == [2, 3]
    assert found.members.tolist() == [1, 1, 1, 0, 0, -1]
    with pytest.raises(InputError, match="the fullest has 3 of 6"):
        cells(np.array([[0.1, 0.9]] * 3 + [[0.9, 0.1]] * 3), 2, 4)


@pytest.mark.parametrize("numbers", [(0, 1), (2, 0)])
def test_grids_and_densities_begin_at_one(numbers):
    with pytest.raises(InputError, match="1 or more"):
        cells(np.zeros((3, 2)), *numbers)


def test_means_are_those_of_the_samples_in_each_cell():
    places, values = np.random.default_rng(1).random((20_000, 2)), vectors(20_000, 3)
    weights = np.random.default_rng(2).random(20_000)
    found = cells(places, 3, 50)
    plain, weighted = found.means(values), found.means(values, weights)
    for cell in range(len(found)):
        inside = found.members == cell
        np.testing.assert_allclose(plain[cell], values[inside].mean(0), atol=1e-6)
        wanted = np.average(values[inside], axis=0, weights=weights[inside])
        np.testing.assert_allclose(weighted[cell], wanted, atol=1e-6)


def test_where_all_weights_are_zero_samples_count_alike():
    found = cells(np.array([[0.1, 0.1], [0.2, 0.2], [0.9, 0.9]]), 2)
    means = found.means(np.array([[1.0], [3.0], [5.0]]), np.array([0.0, 0.0, 2.0]))
    assert means.tolist() == [[2.0], [5.0]]


def test_the_dominant_class_is_that_of_most_samples():
    found = cells(np.array([[0.1, 0.1]] * 4 + [[0.9, 0.9]]), 2)
    most, share = found.dominant(np.array([2, 2, 1, -1, -1]))
    assert most.tolist() == [2, -1]
    assert share.tolist() == [0.5, 0.0]


def test_samples_are_chosen_by_the_seed_in_their_order():
    samples = Samples(vectors(100, 3))
    first, again, other = (samples.chosen(10, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (np.diff(first) > 0).all()
    assert samples.chosen(None, 0).tolist() == samples.chosen(100, 0).tolist() == [*range(100)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"vectors": np.zeros((2, 3, 4))},
        {"vectors": np.zeros((2, 3), int)},
        {"vectors": np.zeros((2, 3)), "labels": np.zeros(3, int)},
        {"vectors": np.zeros((2, 3)), "attributions": np.zeros(2)},
    ],
    ids=["rank", "integers", "labels", "attributions"],
)
def test_samples_that_do_not_fit_are_refused(wrong):
    with pytest.raises(InputError):
        Samples(**wrong)


def test_activations_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="not finite"):
        Samples(np.full((9, 2), np.nan, np.float32)).at(np.arange(9))
