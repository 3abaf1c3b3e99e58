"""Statistics that merge, trees of a fixed order, draws that depend on numbers alone, settings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lucent.collect import CollectPlan, CollectSettings, Histogram, Moments, Products
from lucent.collect._arrays import matrix, packed, unpacked, write_long
from lucent.collect._draws import hashes, places, positions, spread_of
from lucent.collect._extremes import Extremes, strongest
from lucent.collect._trees import Node, Tree
from lucent.errors import InputError

NUMBERS = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0)).relu() - 0.25


@pytest.mark.parametrize("cut", [1, 400, 999])
def test_merged_moments_are_those_of_all(cut):
    parts, whole = NUMBERS.split([cut, 1000 - cut], 1), NUMBERS.double().numpy()
    found = Moments.of(parts[0]).merged(Moments.of(parts[1]))
    assert found.count == 1000
    assert np.abs(found.mean.numpy() - whole.mean(1)).max() < 1e-14
    assert np.abs(found.variance.numpy() - whole.var(1)).max() < 1e-13
    assert np.array_equal(found.low.numpy(), whole.min(1))
    assert np.array_equal(found.sparsity.numpy(), (whole <= 0).mean(1))
    products = Products.of(parts[0].T).merged(Products.of(parts[1].T))
    assert np.abs(products.covariance.numpy() - np.cov(whole, bias=True)).max() < 1e-13
    assert np.abs(products.second_moment.numpy() - whole @ whole.T / 1000).max() < 1e-13


def test_moments_of_large_offsets_keep_their_digits():
    numbers = NUMBERS.double() + 1e6
    found = Moments.of(numbers[:, :300]).merged(Moments.of(numbers[:, 300:]))
    want = numbers.numpy().var(1)
    assert np.abs(found.variance.numpy() / want - 1).max() < 1e-8


def test_histograms_have_fine_bins_around_zero_and_none_is_lost():
    edges = Histogram.edges()
    assert torch.equal(edges, -edges.flip(0))
    assert torch.all(edges.diff() > 0)
    numbers = torch.tensor([[0.0, 1e-9, 1.0, 1.05, 1e30, -1e30]])
    counts = Histogram.of(numbers).counts[0]
    assert counts.sum() == 6
    assert counts[len(edges) // 2] == 2  # zero and what is nearly zero
    assert counts[0] == counts[-1] == 1
    assert counts[torch.bucketize(torch.tensor(1.0).double(), edges, right=True)] == 2


def test_extremes_merge_to_those_of_all_with_the_first_of_equal_ones():
    acts = torch.randint(0, 4, (60, 5, 2, 3), generator=torch.Generator().manual_seed(0)).float()
    images = torch.arange(60)
    values, where = strongest(acts)
    for largest in (True, False):
        whole = Extremes.of(values, where, images, 7, largest=largest)
        first, second, third = (
            Extremes.of(values[part], where[part], images[part], 7, largest=largest)
            for part in (slice(0, 3), slice(3, 40), slice(40, 60))
        )
        for merged in (
            first.merged(second, 7).merged(third, 7),
            first.merged(second.merged(third, 7), 7),
        ):
            assert torch.equal(merged.images, whole.images)
            assert torch.equal(merged.positions, whole.positions)
        flat = acts.flatten(2).numpy()
        for unit in range(5):
            best = flat[:, unit].max(1)
            want = np.argsort(-best if largest else best, kind="stable")[:7]
            assert whole.images[unit].tolist() == want.tolist()
            assert whole.positions[unit].tolist() == flat[want, unit].argmax(1).tolist()


def tree():
    return Tree(lambda left, right: f"({left}{right})")


@pytest.mark.parametrize("missing", [(), (0,), (4, 5, 6, 7), (3, 11), (0, 1, 2, 4, 6, 10), (1, 9)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_trees_of_parts_are_the_tree_of_all(size, missing):
    leaves = [Node(n, 1, chr(97 + n)) for n in range(13) if n not in missing]
    whole, merged = tree(), tree()
    whole.extend(leaves)
    for start in range(0, 13, size):
        part = tree()
        part.extend(leaf for leaf in leaves if start <= leaf.start < start + size)
        merged.extend(part.nodes)
    assert merged.total() == whole.total()
    assert merged.nodes == whole.nodes


def test_leaves_that_are_left_out_do_not_make_trees_grow():
    whole = tree()
    for number in range(1, 4096, 2):
        whole.add(Node(number, 1, "."))
    assert len(whole.nodes) <= 24  # two for each power of 2
    halves = tree()
    halves.extend(Node(number, 1, chr(97 + number)) for number in (0, 1, 3, 6, 8))
    assert halves.nodes[0] == Node(0, 8, "(((ab)d)g)")


def test_places_depend_on_the_image_alone_and_fill_the_square():
    drawn = np.concatenate([places(3, image, 2) for image in range(2000)])
    assert np.array_equal(places(3, 7, 2), drawn[14:16])
    assert not np.array_equal(places(4, 7, 2), drawn[14:16])
    counts = np.histogram2d(*drawn.T, bins=4, range=[(0, 1), (0, 1)])[0]
    # 250 expected in each of 16; five standard deviations of 15.3.
    assert np.abs(counts - 250).max() < 77


@pytest.mark.parametrize(
    ("spatial", "margin", "want"),
    [
        ((4, 5), 0, set(range(20))),
        ((4, 5), 1, {6, 7, 8, 11, 12, 13}),
        ((2, 5), 1, {1, 2, 3, 6, 7, 8}),  # of two rows none would be left
        ((6,), 2, {2, 3}),
        ((), 1, {0}),
    ],
)
def test_positions_leave_the_margin_out(spatial, margin, want):
    drawn = np.random.default_rng(0).random((500, 2))
    assert set(positions(drawn, spatial, margin).tolist()) == want


def test_the_spread_of_many_images_is_that_of_fewer_and_later_ones():
    assert len(np.unique(hashes(0, 0, 5000))) == 5000
    every = spread_of(0, 100, 1000)
    assert len(set(every.tolist())) == 100
    assert every.tolist() == sorted(every.tolist(), key=hashes(0, 0, 1000).__getitem__)
    early = spread_of(0, 100, 600)
    assert {n for n in every.tolist() if n < 600} <= set(early.tolist())
    assert spread_of(0, 100, 30).tolist() != list(range(30))
    assert sorted(spread_of(0, 100, 30).tolist()) == list(range(30))
    many = spread_of(0, 100, 150_000)  # more than are looked at at a time
    assert many.tolist() == np.argsort(hashes(0, 0, 150_000))[:100].tolist()
    halves = [np.sum(spread_of(seed, 100, 1000) < 500) for seed in range(20)]
    # Hypergeometric: standard deviation 4.7 around 50.
    assert max(abs(half - 50) for half in halves) < 24


def test_arrays_come_back_and_long_ones_are_mapped(tmp_path):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "none": np.zeros((0, 4), np.float16),
        "n": np.array(3),
    }
    (tmp_path / "x").write_bytes(packed(arrays))
    found = unpacked(tmp_path / "x")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    blocks = [np.full((n, 3), n, np.float16) for n in (2, 1, 4)]
    write_long(tmp_path / "long.arrow", iter(blocks), "vector")
    assert np.array_equal(matrix(tmp_path / "long.arrow"), np.concatenate(blocks))
    assert [path.name for path in tmp_path.glob("long*")] == ["long.arrow"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"examples": 0}, "examples=0 has to be a whole number, 1 or more"),
        ({"shard": 0}, "shard=0 has to be a whole number"),
        ({"batch": 2.5}, "batch=2.5 has to be a whole number"),
        ({"seed": -1}, "seed=-1 has to be a whole number, 0 or more"),
        ({"seed": 2**63}, "seed=9223372036854775808 has to be below"),
        ({"limit": 0}, "limit=0 has to be"),
        ({"vectors": True}, "vectors=True has to be"),
        ({"shard": 100}, "shard=100 is no multiple of batch=32.*shard=96"),
        ({"shard": 16}, "shard=16 is no multiple of batch=32.*shard=32"),
        ({"dtype": "float64"}, "dtype='float64' is unknown: it is 'float16' or 'float32'"),
        ({"size": (3,)}, r"size=\(3,\) has to be \(height, width\)"),
        ({"size": 0}, "size=0 has to be"),
    ],
)
def test_settings_that_cannot_be_are_errors(given, text):
    with pytest.raises(InputError, match=text):
        CollectSettings(**given)


def test_settings_and_plans_are_json_both_ways():
    settings = CollectSettings(size=(3, 4), limit=7, layout={"a": "NLC"})
    assert CollectSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    with pytest.raises(InputError, match="no setting 'exampels'"):
        CollectSettings.from_json({"exampels": 3})
    plan = CollectPlan(
        "net", "0123", ("cat",), ("a", "b"), ((3, 4, 4), (7,)), ("a",), 1, (8, 9),
        {"kind": "tars", "files": [["x", 3]]}, (), None, settings,
    )  # fmt: skip
    assert CollectPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.n_shards is None
    assert plan.shard(0) == range(7)
