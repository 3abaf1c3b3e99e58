"""Reducing channels: twins in NumPy, arrays and tensors alike, and what is no attribute."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest
import torch

from lucent.errors import InputError, MissingExtra
from lucent.misc.channel_reducer import ChannelReducer, posneg

RNG = np.random.default_rng(0)
#: Three non-negative sources in eight channels, at 4 x 5 positions of two images.
WEIGHTS, SOURCES = RNG.random((2, 4, 5, 3)), RNG.random((3, 8))
ACTS = WEIGHTS @ SOURCES


def nmf(n_components=3, **options):
    return ChannelReducer(n_components, "NMF", random_state=0, max_iter=2000, tol=1e-8, **options)


class Halving:
    """A reduction that keeps the first channels, halved, and cannot transform anything new."""

    def __init__(self, n_components, offset=0.0):
        self.n_components, self.offset = n_components, offset

    def fit(self, rows):
        self.mean_ = rows.mean(0)
        return self

    def fit_transform(self, rows):
        return self.fit(rows) and rows[:, : self.n_components] / 2 + self.offset


def pca_twin(acts, n):
    """(reduced, components) up to signs."""
    rows = acts.reshape(-1, acts.shape[-1])
    left, sizes, components = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return (left * sizes)[:, :n].reshape(*acts.shape[:-1], n), components[:n]


def test_nmf_is_the_default_and_finds_the_sources():
    reducer = nmf()
    reduced = reducer.fit_transform(ACTS)
    assert reduced.shape == (2, 4, 5, 3)
    assert reduced.min() >= 0
    assert np.abs(reduced @ reducer.components - ACTS).max() < 2e-3
    assert np.abs(reducer.inverse_transform(reduced) - ACTS).max() < 2e-3
    assert type(ChannelReducer()._reducer).__name__ == "NMF"
    assert ChannelReducer().n_components == 3


def test_pca_equals_its_twin():
    reducer = ChannelReducer(2, "PCA")
    reduced = reducer.fit_transform(ACTS)
    expected, components = pca_twin(ACTS, 2)
    signs = np.sign((reducer.components * components).sum(1))
    assert np.abs(reducer.components * signs[:, None] - components).max() < 1e-10
    assert np.abs(reduced * signs - expected).max() < 1e-10


@pytest.mark.parametrize("reducer", [nmf(), ChannelReducer(2, "PCA")])
def test_tensors_are_reduced_along_axis_1_as_arrays_along_the_last(reducer):
    expected = reducer.fit_transform(ACTS)
    tensor = torch.from_numpy(ACTS).permute(0, 3, 1, 2)
    found = reducer.fit_transform(tensor)
    assert found.shape == (2, reducer.n_components, 4, 5)
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), expected)
    assert np.array_equal(reducer.transform(ACTS), reducer(tensor).permute(0, 2, 3, 1).numpy())
    back = reducer.inverse_transform(found)
    assert back.shape == tensor.shape
    assert np.allclose(back.permute(0, 2, 3, 1), reducer.inverse_transform(expected), atol=1e-12)


@pytest.mark.parametrize("dim", [0, 1, -1, -3])
def test_dim_says_where_the_channels_are(dim):
    expected = ChannelReducer(2, "PCA").fit_transform(ACTS)
    moved = np.moveaxis(ACTS, -1, dim)
    for acts in (moved, torch.from_numpy(moved.copy())):
        reducer = ChannelReducer(2, "PCA").fit(acts, dim=dim)
        for found in (reducer(acts, dim=dim), reducer.fit_transform(acts, dim=dim)):
            assert type(found) is type(acts)
            assert np.allclose(np.moveaxis(np.asarray(found), dim, -1), expected, atol=1e-12)
        back = reducer.inverse_transform(reducer.transform(acts, dim=dim), dim=dim)
        assert back.shape == acts.shape


def test_two_axes_are_positions_and_channels_in_arrays_and_tensors():
    rows = ACTS.reshape(-1, 8)
    expected = ChannelReducer(2, "PCA").fit_transform(ACTS).reshape(-1, 2)
    for acts in (rows, torch.from_numpy(rows)):
        assert np.allclose(ChannelReducer(2, "PCA").fit_transform(acts), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64"])
def test_the_dtype_stays_where_it_is_a_floating_one(dtype):
    acts = torch.from_numpy(10 * ACTS).to(getattr(torch, dtype)).permute(0, 3, 1, 2)
    exact = ChannelReducer(2, "PCA").fit_transform(acts.double())
    found = ChannelReducer(2, "PCA").fit_transform(acts.requires_grad_(acts.is_floating_point()))
    assert found.dtype == (torch.float64 if dtype == "int64" else acts.dtype)
    assert not found.requires_grad
    # Rounded once more at the end, by a unit in the last place at most; float32 also in between.
    unit = max(torch.finfo(found.dtype).eps, 4 * torch.finfo(torch.float32).eps)
    assert (found - exact).abs().max() < (1e-10 if found.dtype == torch.float64 else unit * 20)
    if dtype != "bfloat16":
        array = acts.detach().permute(0, 2, 3, 1).numpy()
        reduced = ChannelReducer(2, "PCA").fit_transform(array)
        assert reduced.dtype == (np.float64 if dtype == "int64" else array.dtype)


def test_the_first_call_learns_and_later_ones_apply_what_was_learned():
    reducer = ChannelReducer(2, "PCA")
    assert not reducer._is_fit
    first = reducer(ACTS)
    assert reducer._is_fit
    components = reducer.components.copy()
    assert np.allclose(reducer(ACTS), first, atol=1e-12)
    assert np.allclose(reducer(ACTS[:1, :2] + 1), reducer.transform(ACTS[:1, :2] + 1), atol=1e-12)
    assert np.array_equal(reducer.components, components)


def test_options_reach_the_algorithm_and_a_wrong_one_is_an_error():
    assert ChannelReducer(2, "PCA", whiten=True)._reducer.whiten
    with pytest.raises(TypeError, match="whitten"):
        ChannelReducer(2, "PCA", whitten=True)


def test_classes_work_like_names_also_those_of_other_packages():
    from sklearn.decomposition import PCA

    expected = ChannelReducer(2, "PCA").fit_transform(ACTS)
    assert np.array_equal(ChannelReducer(2, PCA).fit_transform(ACTS), expected)
    reducer = ChannelReducer(2, Halving, offset=1.0)
    assert np.array_equal(reducer.fit_transform(ACTS), ACTS[..., :2] / 2 + 1)
    with pytest.raises(InputError, match="Halving has no transform: it cannot do more than fit_tr"):
        reducer.transform(ACTS)


@pytest.mark.parametrize("name", ["PCA", "FastICA", "TruncatedSVD", "MiniBatchNMF", "KernelPCA"])
def test_other_decompositions(name):
    reduced = ChannelReducer(2, name, tol=1e-2).fit_transform(ACTS)
    assert reduced.shape == (2, 4, 5, 2)
    assert np.isfinite(reduced).all()


# Regressions


def test_a_typo_in_an_attribute_was_none_and_hasattr_always_true():
    reducer = nmf().fit(ACTS)
    with pytest.raises(
        AttributeError, match=r"no attribute 'component'. Did you mean 'components'"
    ):
        reducer.component  # noqa: B018
    assert not hasattr(reducer, "foo")
    assert not hasattr(ChannelReducer(), "components")
    assert reducer.components is reducer.components_ is reducer._reducer.components_


def test_copying_and_unpickling_recursed_without_end():
    reducer = nmf()
    unfit = pickle.loads(pickle.dumps(reducer))
    assert not unfit._is_fit
    expected = reducer.fit(ACTS).transform(ACTS)
    for other in (copy.copy(reducer), copy.deepcopy(reducer), pickle.loads(pickle.dumps(reducer))):
        assert np.array_equal(other(ACTS), expected)
    with pytest.raises(AttributeError, match="no attribute 'components'"):
        ChannelReducer.__new__(ChannelReducer).components  # noqa: B018


def test_fit_returned_the_object_of_sklearn():
    reducer = nmf()
    assert reducer.fit(ACTS) is reducer


def test_the_flag_was_set_before_fitting():
    reducer = nmf()
    for method in (reducer.fit, reducer.fit_transform, reducer):
        with pytest.raises(InputError):
            method(-ACTS)
        assert not reducer._is_fit
    assert reducer(ACTS).shape == (2, 4, 5, 3)


def test_dir_lists_what_was_learned():
    assert "components" not in dir(ChannelReducer())
    names = dir(nmf().fit(ACTS))
    assert {"components", "n_iter", "fit", "n_components", "_reducer"} <= set(names)
    pca = dir(ChannelReducer(2, "PCA").fit(ACTS))
    assert len(pca) == len(set(pca))
    assert repr(ChannelReducer(2, "PCA")) == "ChannelReducer(PCA(n_components=2))"


# Bad input


@pytest.mark.parametrize("number", [0, -1, 2.0, "3", None, True])
def test_a_number_of_components_that_is_none(number):
    with pytest.raises(InputError, match=rf"n_components={number!r} has to be a whole number of"):
        ChannelReducer(number)


def test_activations_may_have_another_precision_than_those_learned_from():
    acts = np.random.default_rng(0).random((2, 5, 5, 8))
    reducer = ChannelReducer(2, random_state=0, tol=1e-2).fit(acts)
    for dtype in (torch.float32, torch.bfloat16):
        given = torch.from_numpy(acts).movedim(-1, 1).to(dtype)
        reduced = reducer.transform(given)
        assert reduced.dtype == dtype
        assert torch.equal(reduced, reducer.transform(given.double()).to(dtype))
    whole = ChannelReducer(2, random_state=0, tol=1e-2).fit((9 * acts).astype(np.int8))
    assert whole.transform(9 * acts.astype(np.float32)).shape == (2, 5, 5, 2)


def test_numpy_integers_are_numbers():
    assert ChannelReducer(np.int64(2)).n_components == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NFM", r"reduction_alg='NFM' is no decomposition of scikit-learn. Did you mean 'NMF'"),
        ("nmf", r"Did you mean 'NMF'"),
        ("MiniBatchNFM", r"Did you mean 'MiniBatchNMF'"),
        ("UMAP", r"It is a class, or the name of one of DictionaryLearning, .*NMF, PCA, "),
        ("dict_learning", r"'dict_learning' is no decomposition"),
        ("SparseCoder", r"'SparseCoder' is no decomposition"),
        (3, r"reduction_alg=3 is no decomposition"),
        (dict, r"reduction_alg=dict is no reduction: a class with the methods fit and fit_transf"),
    ],
)
def test_an_algorithm_that_is_none(name, text):
    with pytest.raises(ValueError, match=text):
        ChannelReducer(3, name)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(MissingExtra, match=r'pip install "torch-lucent\[reduce\]"'):
        ChannelReducer()
    assert ChannelReducer(2, Halving).fit_transform(ACTS).shape == (2, 4, 5, 2)


def test_what_does_not_suit_the_algorithm_says_so():
    with pytest.raises(
        InputError,
        match=r"NMF.fit failed on 40 positions of 8 channels, values -\d.* to .*Negative.*"
        r"give it posneg\(acts\)",
    ):
        nmf().fit(ACTS - 2)
    reducer = nmf().fit(posneg(ACTS - 2))
    with pytest.raises(
        InputError, match=r"NMF.transform failed on 40 positions of 8 channels.* 16"
    ):
        reducer.transform(ACTS)
    with pytest.raises(InputError, match=r"PCA.fit_transform failed on 1 positions of 8 channels"):
        ChannelReducer(3, "PCA").fit_transform(ACTS[0, 0, :1])


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_nothing_learned_yet(method):
    with pytest.raises(
        InputError, match=rf"ChannelReducer\(NMF\(.*has learned nothing yet: call fit.*{method}"
    ):
        getattr(ChannelReducer(), method)(ACTS)


@pytest.mark.parametrize(
    ("acts", "dim", "text"),
    [
        (ACTS[0, 0, 0], None, r"shape \(8,\) have no channels in axis -1"),
        (ACTS, 4, r"shape \(2, 4, 5, 8\) have no channels in axis 4"),
        (torch.ones(8), None, r"shape \(8,\) have no channels in axis 1"),
        (ACTS.tolist(), None, r"not a list: use numpy.stack"),
        (np.where(ACTS > 0.5, ACTS, np.nan), None, r"of the 320 activations are NaN or infinite"),
    ],
)
def test_activations_that_are_none(acts, dim, text):
    with pytest.raises(InputError, match=text):
        ChannelReducer(2, "PCA").fit(acts, dim=dim)


# posneg


def test_posneg_puts_the_negative_parts_behind_the_positive_ones():
    acts = ACTS - 1
    expected = np.concatenate([acts.clip(0), -acts.clip(None, 0)], -1)
    assert np.array_equal(posneg(acts), expected)
    assert np.array_equal(posneg(acts, dim=1), np.concatenate([acts.clip(0), (-acts).clip(0)], 1))
    tensor = torch.from_numpy(acts).permute(0, 3, 1, 2)
    assert np.array_equal(posneg(tensor).permute(0, 2, 3, 1), expected)
    assert torch.equal(posneg(tensor, dim=-1)[..., 5:], (-tensor).clamp(min=0))
    assert np.array_equal(posneg(acts)[..., :8] - posneg(acts)[..., 8:], acts)


def test_posneg_passes_gradients():
    acts = torch.from_numpy(ACTS - 1).requires_grad_()
    assert torch.autograd.gradcheck(posneg, acts)
