"""Collecting: the right examples, exact statistics, and nothing that depends on how it was cut."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tiny
import torch
from collect.world import COUNT, SIDE, Labelled, World, activations, images
from faults import tree_of_files
from PIL import Image
from torch import nn

from lucent.attribution import class_attributions
from lucent.collect import KINDS, Collection, CollectSettings, as_source, collect
from lucent.collect._draws import spread_of
from lucent.collect._seen import Gallery
from lucent.errors import InputError, LayerError, LucentWarning, StorageError
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.param.measured import measured_color_matrix
from lucent.weights import digest

SMALL = CollectSettings(examples=4, spread=20, vectors=2, shard=16, batch=4)
LAYERS = ("first", "second")


@pytest.fixture(scope="module")
def pictures():
    return images()


@pytest.fixture(scope="module")
def acts(pictures):
    return activations(pictures)


@pytest.fixture(scope="module")
def collection(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("collect") / "out"
    return collect(World(), Labelled(pictures), out, layers=LAYERS, settings=SMALL)


def collected(out, data, settings=SMALL, model=None, layers=LAYERS):
    return collect(model or World(), data, out, layers=layers, settings=settings)


# What is collected


def test_the_strongest_and_the_weakest_images_of_each_unit_are_found(collection, acts):
    for unit in range(3):
        flat = acts[:, unit].reshape(COUNT, -1)
        best = flat.max(1)
        for kind, order in (("top", -1), ("low", 1)):
            want = np.argsort(order * best, kind="stable")[:4]
            found = collection.examples("first", unit, kind)
            assert [one.index for one in found] == want.tolist()
            assert [one.value for one in found] == best[want].astype(float).tolist()


def test_examples_know_where_the_unit_is_extreme_and_what_it_sees_there(collection, acts):
    for kind in KINDS:
        for one in collection.examples("first", 1, kind):
            row, column = divmod(int(acts[one.index, 1].argmax()), SIDE)
            assert (one.row, one.column) == (row, column)
            assert one.box == (column, row, column + 1, row + 1)
    tiles = acts[:, 0].reshape(COUNT, SIDE // 2, 2, SIDE // 2, 2).mean((2, 4))
    best = collection.examples("second", 0)[0]
    assert best.index == tiles.max((1, 2)).argmax()
    row, column = divmod(int(tiles[best.index].argmax()), SIDE // 2)
    assert best.box == (2 * column, 2 * row, 2 * column + 2, 2 * row + 2)


def test_examples_know_their_label_and_key(collection):
    best = collection.examples("first", 0)[0]
    assert (best.label, best.key) == (best.index % 3, str(best.index))
    assert collection.data_labels == ("a", "b", "c")
    assert collection.labels == World.spec.labels


def test_of_equal_images_the_first_count(tmp_path):
    same = np.zeros((9, SIDE, SIDE, 3), np.uint8)
    same[3:, 5, 2] = same[7:, 1, 1] = 255
    found = collected(tmp_path / "c", same)
    assert [one.index for one in found.examples("first", 0)] == [3, 4, 5, 6]
    assert [(one.row, one.column) for one in found.examples("first", 0)] == [(5, 2)] * 4
    assert [one.index for one in found.examples("first", 0, "low")] == [0, 1, 2, 3]


def test_examples_in_between_are_around_their_share_of_the_images_drawn(tmp_path, pictures):
    settings = CollectSettings(examples=3, spread=COUNT, shard=16, batch=4)
    found = collected(tmp_path / "c", pictures, settings)
    best = np.sort(activations(pictures)[:, 1].max((1, 2)))
    assert [one.value for one in found.examples("first", 1, "middle")] == [*best[25:22:-1]]
    assert [one.value for one in found.examples("first", 1, "high")] == [*best[:46:-1]]


def test_random_examples_are_drawn_from_all_and_the_same_for_all_units(tmp_path):
    pictures = images(400)
    settings = CollectSettings(examples=40, spread=100, shard=64, batch=32)
    found = collected(tmp_path / "c", pictures, settings, layers=["second"])
    drawn = [one.index for one in found.examples("second", 0, "random")]
    assert len(set(drawn)) == 40
    # A mean of 40 numbers of 0 to 399 is within 4 of its standard deviations of 18.
    assert abs(np.mean(drawn) - 200) < 73
    other = collected(tmp_path / "d", pictures, CollectSettings(**{**vars(settings), "seed": 1}))
    again = [one.index for one in other.examples("first", 1, "random")]
    assert again != drawn
    assert again == [one.index for one in other.examples("first", 2, "random")]
    values = [one.value for one in other.examples("first", 2, "random")]
    assert values == activations(pictures)[again, 2].max((1, 2)).astype(float).tolist()


def test_if_none_of_the_images_drawn_can_be_read_there_are_no_examples_in_between(tmp_path):
    data = [encoded(picture) for picture in images(8)]
    settings = CollectSettings(examples=2, spread=1, shard=4, batch=4)
    (drawn,) = spread_of(settings.seed, 1, 8)
    data[drawn] = b""
    found = collected(tmp_path / "c", data, settings)
    assert [len(found.examples("first", 0, kind)) for kind in KINDS] == [2, 0, 0, 0, 2]
    assert found.heat("first", 0, "middle").shape == (0, SIDE, SIDE)
    assert found.heat("first", 0, "low").shape == (2, SIDE, SIDE)


def test_random_examples_pass_over_what_cannot_be_read(tmp_path):
    data = [encoded(picture) for picture in images(20)]
    drawn = spread_of(0, 10, 20).tolist()
    for index in (drawn[0], drawn[2]):
        data[index] = b""
    found = collected(
        tmp_path / "c", data, CollectSettings(examples=4, spread=10, shard=8, batch=4)
    )
    indices = [one.index for one in found.examples("first", 0, "random")]
    assert indices == [drawn[1], *drawn[3:6]]


def test_pictures_are_what_the_network_saw(collection, pictures):
    index = collection.examples("first", 0, "random")[1].index
    assert np.array_equal(collection.picture(index), pictures[index])
    with Image.open(io.BytesIO(collection.encoded(index))) as file:
        assert np.array_equal(np.asarray(file), pictures[index])


def test_heat_is_the_activation_of_the_unit_in_each_example(collection, acts):
    for layer, unit, kind in [("first", 0, "top"), ("first", 2, "random"), ("first", 1, "low")]:
        heat = collection.heat(layer, unit, kind)
        found = [one.index for one in collection.examples(layer, unit, kind)]
        assert np.array_equal(heat, acts[found, unit])
    for kind in KINDS:
        heat = collection.heat("second", 0, kind)
        values = [one.value for one in collection.examples("second", 0, kind)]
        assert np.allclose(heat.max((1, 2)), values)


def test_large_maps_keep_their_maxima(tmp_path):
    model = nn.Sequential(nn.Identity())
    model.spec = ModelSpec("large", (100, 90))
    data = np.random.default_rng(0).integers(0, 256, (3, 100, 90, 3), np.uint8)
    found = collected(tmp_path / "c", data, model=model, layers=["0"])
    heat, best = found.heat("0", 1), found.examples("0", 1)
    assert heat.shape == (3, 64, 64)
    assert heat.max((1, 2)).tolist() == [one.value for one in best]


def test_moments_are_those_of_numpy(collection, acts):
    numbers = np.moveaxis(acts, 1, 0).reshape(3, -1).astype(np.float64)
    found = collection.moments("first")
    assert found.count == numbers.shape[1]
    assert np.abs(found.mean.numpy() - numbers.mean(1)).max() < 1e-10
    assert np.abs(found.variance.numpy() - numbers.var(1)).max() < 1e-10
    assert np.array_equal(found.low.numpy(), numbers.min(1))
    assert np.array_equal(found.high.numpy(), numbers.max(1))
    assert np.array_equal(found.sparsity.numpy(), (numbers <= 0).mean(1))
    assert np.abs(collection.covariance("first").numpy() - np.cov(numbers, bias=True)).max() < 1e-10
    second = numbers @ numbers.T / numbers.shape[1]
    assert np.abs(collection.second_moment("first").numpy() - second).max() < 1e-10


def test_histograms_are_those_of_numpy(collection, acts):
    found = collection.histogram("first")
    edges = [-np.inf, *found.edges().tolist(), np.inf]
    for unit in range(3):
        want = np.histogram(acts[:, unit].astype(np.float64), edges)[0]
        assert np.array_equal(found.counts[unit].numpy(), want)


def test_vectors_are_the_activations_at_their_places(collection, acts):
    samples, vectors = collection.samples("first").to_pydict(), collection.vectors("first")
    assert samples["image"] == [n for n in range(COUNT) for _ in range(2)]
    assert samples["label"] == [n % 3 for n in samples["image"]]
    want = acts[samples["image"], :, samples["row"], samples["column"]]
    assert np.array_equal(vectors, want.astype(np.float16))
    # The margin is left out, and all else is drawn.
    assert set(samples["row"]) == set(samples["column"]) == set(range(1, SIDE - 1))


def test_places_are_the_same_in_all_layers(collection):
    first, second = (collection.samples(layer).to_pydict() for layer in LAYERS)
    assert first["image"] == second["image"]
    # Of 6 rows inside the margin of the one, and 2 inside that of the other.
    assert [(row - 1) // 3 + 1 for row in first["row"]] == second["row"]


def test_vectors_in_single_precision(tmp_path, pictures, acts):
    settings = CollectSettings(**{**vars(SMALL), "dtype": "float32", "margin": 0})
    found = collected(tmp_path / "c", pictures, settings)
    samples = found.samples("first").to_pydict()
    want = acts[samples["image"], :, samples["row"], samples["column"]]
    assert np.array_equal(found.vectors("first"), want)
    assert set(samples["row"]) == set(range(SIDE))


def test_what_half_precision_cannot_hold_is_its_largest_number(tmp_path, pictures):
    model = World()
    model.first.weight.data.mul_(1e6)
    found = collected(tmp_path / "c", pictures, model=model)
    assert np.isfinite(found.vectors("first")).all()
    assert found.vectors("first").max() == np.finfo(np.float16).max


def test_attributions_are_those_of_each_position(collection, pictures):
    samples = collection.samples("second").to_pydict()
    images = torch.from_numpy(pictures).movedim(-1, 1).float() / 255
    every = class_attributions(World(), images, "second").values
    want = every[samples["image"], :, samples["row"], samples["column"]]
    found = collection.attributions("second")
    assert found.shape == (2 * COUNT, 4)
    assert np.abs(found).max() > 0.01
    assert np.allclose(found, want.numpy(), atol=1e-4)
    assert collection.plan.attributed == LAYERS


def test_attributions_can_be_left_out(tmp_path, pictures):
    settings = CollectSettings(**{**vars(SMALL), "attributions": False})
    found = collected(tmp_path / "c", pictures, settings)
    assert found.attributions("first") is None
    assert not list((tmp_path / "c").rglob("attributions*"))


def test_a_network_without_logits_has_no_attributions(tmp_path, pictures):
    model = nn.Sequential(World().first, nn.ReLU())
    model.spec = ModelSpec("features", (SIDE, SIDE))
    found = collected(tmp_path / "c", pictures, model=model, layers=["0"])
    assert found.attributions("0") is None


def test_colors_are_those_of_all_pixels(collection, pictures):
    pixels = pictures.reshape(-1, 3).T / 255
    found = collection.colors()
    assert np.allclose(found.mean, pixels.mean(1), atol=1e-7)
    assert np.allclose(found.covariance, np.cov(pixels, bias=True), atol=1e-7)
    # The colour matrix for rendering comes of the same.
    matrix = np.array(measured_color_matrix(torch.from_numpy(pictures).movedim(-1, 1)))
    assert np.allclose(matrix @ matrix.T, found.covariance, atol=1e-7)


def test_layers_without_positions_and_the_main_layers(tmp_path, pictures):
    found = collected(tmp_path / "c", pictures, layers=None)
    assert found.layers == ("first", "second", "head")
    assert found.shape("head") == (4,)
    best = found.examples("head", 0)[0]
    assert (best.row, best.column, best.box) == (0, 0, (0, 0, SIDE, SIDE))
    assert found.heat("head", 0).shape == (4, 1, 1)
    assert found.heat("head", 0)[0, 0, 0] == pytest.approx(best.value)
    assert found.samples("head")["row"].to_pylist() == [0] * 2 * COUNT
    assert found.vectors("head").shape == (2 * COUNT, 4)


def test_layers_have_one_name_whichever_was_given(tmp_path, pictures):
    model = nn.Sequential(nn.Sequential(World().first))
    model.spec = ModelSpec("nested", (SIDE, SIDE))
    found = collected(tmp_path / "c", pictures, model=model, layers=["0_0", "0.0", "labels"])
    assert found.layers == ("0.0", "labels")


def test_progress_ends_with_all_images_and_is_not_begun_for_the_pictures(
    tmp_path, pictures, capsys, monkeypatch
):
    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "write", cut)
        with pytest.raises(KeyboardInterrupt):
            collect(World(), pictures, tmp_path / "c", layers=LAYERS, progress=True)
    assert f"{COUNT}/{COUNT}" in capsys.readouterr().err
    collect(World(), pictures, tmp_path / "c", layers=LAYERS, progress=True)
    assert capsys.readouterr().err == ""


def test_pictures_of_other_sizes_are_scaled_and_cut(tmp_path, pictures):
    large = [
        np.asarray(Image.fromarray(p).resize((16, 24), Image.Resampling.NEAREST)) for p in pictures
    ]
    found = collected(tmp_path / "c", large)
    assert found.plan.size == (SIDE, SIDE)
    assert found.picture(found.examples("first", 0)[0].index).shape == (SIDE, SIDE, 3)


def test_a_network_for_any_size_takes_that_of_the_settings_or_of_the_first(tmp_path):
    model = World()
    model.spec = ModelSpec("any")
    data = [np.zeros((n, 12, 3), np.uint8) for n in (10, 14)]
    found = collected(tmp_path / "c", data, model=model)
    assert found.plan.size == (10, 12)
    sized = CollectSettings(**{**vars(SMALL), "size": (6, 4)})
    assert collected(tmp_path / "d", data, sized, model=model).shape("first") == (3, 6, 4)


# Nothing depends on how it was cut


def statistics(found):
    arrays = [*vars(found.moments("first")).values(), found.histogram("first").counts]
    arrays += [found.covariance("first"), found.colors().products]
    return [array.numpy().tobytes() for array in arrays]


@pytest.mark.parametrize("shard", [4, 12, 32, 64])
def test_merged_shards_are_one_pass_bit_for_bit(tmp_path, collection, pictures, shard):
    settings = CollectSettings(**{**vars(SMALL), "shard": shard})
    found = collected(tmp_path / "c", Labelled(pictures), settings)
    assert statistics(found) == statistics(collection)
    for layer in LAYERS:
        for kind in KINDS:
            assert found.examples(layer, 0, kind) == collection.examples(layer, 0, kind)
            assert np.array_equal(found.heat(layer, 0, kind), collection.heat(layer, 0, kind))
        assert np.array_equal(found.vectors(layer), collection.vectors(layer))
        assert np.array_equal(found.attributions(layer), collection.attributions(layer))
        assert found.samples(layer) == collection.samples(layer)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(tmp_path, collection, pictures, workers):
    data = Labelled(pictures)
    collect(World(), data, tmp_path / "c", layers=LAYERS, settings=SMALL, workers=workers)
    assert tree_of_files(tmp_path / "c") == tree_of_files(collection.path)


class Failing(Labelled):
    """Runs out of power while the n-th picture is read."""

    left = 0

    def __getitem__(self, index):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().__getitem__(index)


Failing.__qualname__ = Labelled.__qualname__


@pytest.mark.parametrize("after", [3, 9, 30, 52, 54, 60, 80])
def test_a_run_that_was_cut_off_goes_on(tmp_path, collection, pictures, after):
    data, model = Failing(pictures), World().train()
    before = tiny.condition(model)
    data.left = after
    with pytest.raises(KeyboardInterrupt):
        collected(tmp_path / "c", data, model=model)
    assert tiny.condition(model) == before
    with pytest.raises(InputError, match="is not finished: run again"):
        Collection.open(tmp_path / "c")
    collected(tmp_path / "c", data, model=model)
    assert tree_of_files(tmp_path / "c") == tree_of_files(collection.path)


def test_a_finished_collection_is_not_made_again(collection, pictures):
    before = {file: file.stat().st_mtime_ns for file in collection.path.rglob("*")}
    data = Failing(pictures)
    again = collected(collection.path, data)
    assert data.left == -2  # the plan looks at the first image, twice
    assert again.n_images == COUNT
    assert {file: file.stat().st_mtime_ns for file in collection.path.rglob("*")} == before


def test_a_damaged_shard_is_made_again(tmp_path, collection, pictures):
    data = Failing(pictures)
    data.left = 40
    with pytest.raises(KeyboardInterrupt):
        collected(tmp_path / "c", data)
    shard = tmp_path / "c" / "shard-000001" / "layer-first.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.warns(LucentWarning, match="layer-first.arrow is damaged"):
        collected(tmp_path / "c", data)
    assert tree_of_files(tmp_path / "c") == tree_of_files(collection.path)


def test_damage_of_a_finished_collection_is_found(tmp_path, pictures):
    found = collected(tmp_path / "c", pictures)
    found.verify()
    file = tmp_path / "c" / "layer-first" / "vectors.arrow"
    file.write_bytes(file.read_bytes()[:-9] + b"x" + file.read_bytes()[-8:])
    with pytest.raises(StorageError, match="vectors.arrow is damaged"):
        found.verify()


def test_other_data_settings_weights_or_layers_are_another_plan(tmp_path, pictures):
    collected(tmp_path / "c", pictures)
    other = World()
    other.head.weight.data.add_(1)
    with pytest.raises(InputError, match="another plan \\(weights: "):
        collected(tmp_path / "c", pictures, model=other)
    with pytest.raises(InputError, match="settings.seed: 0 before, 7 now"):
        collected(tmp_path / "c", pictures, CollectSettings(**{**vars(SMALL), "seed": 7}))
    with pytest.raises(InputError, match="data.first"):
        collected(tmp_path / "c", images(seed=1))
    with pytest.raises(InputError, match="layers: "):
        collected(tmp_path / "c", pictures, layers=["first"])


def test_a_stream_gives_what_a_list_gives(tmp_path, collection, pictures):
    def stream():
        yield from ((picture, n % 3) for n, picture in enumerate(pictures))

    found = collected(tmp_path / "c", stream)
    assert found.n_images == COUNT
    assert statistics(found) == statistics(collection)
    for kind in KINDS:
        assert found.examples("first", 1, kind) == collection.examples("first", 1, kind)
    assert np.array_equal(found.vectors("first"), collection.vectors("first"))


@pytest.mark.parametrize("count", [15, 16, 17, 32])
def test_the_end_of_a_stream_is_found(tmp_path, pictures, count):
    found = collected(tmp_path / "c", lambda: iter(pictures[:count]))
    assert found.n_images == count
    assert len(found.vectors("first")) == 2 * count


@pytest.mark.parametrize("stream", [False, True])
def test_the_limit_is_how_many_images_there_are(tmp_path, pictures, stream):
    settings = CollectSettings(**{**vars(SMALL), "limit": 21})
    found = collected(tmp_path / "c", (lambda: iter(pictures)) if stream else pictures, settings)
    assert found.n_images == 21
    few = collected(tmp_path / "d", pictures[:21])
    assert statistics(found) == statistics(few)
    for kind in KINDS:
        assert found.examples("first", 1, kind) == few.examples("first", 1, kind)


# What cannot be used


def encoded(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def test_what_cannot_be_read_is_counted_and_listed(tmp_path, pictures):
    whole = encoded(pictures[2])
    damaged = {3: whole[: len(whole) // 2], 7: b"", 11: b"no picture", 16: None}
    data = [damaged.get(n, encoded(picture)) for n, picture in enumerate(pictures)]
    found = collected(tmp_path / "c", data)
    assert found.n_images == COUNT - 4
    assert [one.index for one in found.unreadable] == [3, 7, 11, 16]
    assert all(one.reason and one.key == str(one.index) for one in found.unreadable)
    assert "OSError" in found.unreadable[0].reason
    left = [n for n in range(COUNT) if n not in damaged]
    flat = activations(pictures[left])[:, 0].reshape(len(left), -1)
    want = [left[n] for n in np.argsort(-flat.max(1), kind="stable")[:4]]
    assert [one.index for one in found.examples("first", 0)] == want
    assert found.samples("first")["image"].to_pylist() == [n for n in left for _ in range(2)]
    assert found.images()["index"].to_pylist() == left


def test_merged_shards_are_one_pass_where_whole_batches_are_missing(tmp_path, pictures):
    data = [b"" if 4 <= n < 8 or 20 <= n < 33 else encoded(p) for n, p in enumerate(pictures)]
    every = [
        collected(tmp_path / str(n), data, CollectSettings(**{**vars(SMALL), "shard": n}))
        for n in (4, 16, 64)
    ]
    assert statistics(every[0]) == statistics(every[1]) == statistics(every[2])
    assert every[0].n_images == COUNT - 17


def test_images_that_make_no_numbers_are_left_out(tmp_path, pictures):
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    model = nn.Sequential(Log())
    model.spec = ModelSpec("log", (SIDE, SIDE))
    bright = np.maximum(pictures, 1)
    bright[5, 3, 3] = 0
    found = collected(tmp_path / "c", bright, model=model, layers=["0"])
    assert [one.index for one in found.unreadable] == [5]
    assert "NaN or infinite at the layer '0'" in found.unreadable[0].reason
    assert torch.isfinite(found.moments("0").mean).all()
    # The places of the others in its batch stay theirs.
    samples = found.samples("0").to_pydict()
    whole = collected(tmp_path / "d", np.maximum(pictures, 1), model=model, layers=["0"])
    theirs = whole.samples("0").to_pydict()
    assert samples["row"] == [
        r for r, n in zip(theirs["row"], theirs["image"], strict=True) if n != 5
    ]
    pixels = bright[samples["image"], samples["row"], samples["column"]].astype(np.float32) / 255
    assert np.allclose(found.vectors("0"), np.log(pixels), atol=4e-3)


def test_transparent_images_are_put_on_white_and_counted(tmp_path):
    clear = np.zeros((4, SIDE, SIDE, 4), np.uint8)
    clear[1, ..., 3] = 255
    found = collected(tmp_path / "c", [Image.fromarray(one) for one in clear])
    assert found.n_composed == 4
    assert (found.picture(0) == 255).all()
    assert (found.picture(1) == 0).all()


def test_if_nothing_can_be_read_the_reasons_are_shown(tmp_path):
    with pytest.raises(InputError, match=r"None of the first 16 images can be read:\n  0: "):
        collected(tmp_path / "c", [b"x"] * 20)
    assert not (tmp_path / "c").exists()


def test_if_no_image_can_be_used_there_is_an_error(tmp_path, pictures):
    class Zero(nn.Module):
        def forward(self, x):
            return x / 0

    model = nn.Sequential(Zero())
    model.spec = ModelSpec("zero", (SIDE, SIDE))
    with pytest.raises(InputError, match="None of the 50 images could be used: 0: it makes"):
        collected(tmp_path / "c", pictures, model=model, layers=["0"])


def test_normalised_tensors_are_an_error(tmp_path):
    with pytest.raises(InputError, match="Leave Normalize out of the transforms"):
        collected(tmp_path / "c", [torch.randn(3, SIDE, SIDE)])
    with pytest.raises(InputError, match="values from 0 to 255"):
        collected(tmp_path / "c", [torch.arange(256.0).view(1, 16, 16)])


def test_random_transforms_are_an_error(tmp_path):
    class Random(Labelled):
        def __getitem__(self, index):
            return torch.rand(3, SIDE, SIDE)

    with pytest.raises(InputError, match="another one each time: leave random transforms out"):
        collected(tmp_path / "c", Random(range(9)))


def test_unknown_layers_units_and_kinds_are_errors(tmp_path, collection, pictures):
    with pytest.raises(LayerError, match="no layer 'third'"):
        collected(tmp_path / "c", pictures, layers=["third"])
    with pytest.raises(InputError, match="list of layers is empty"):
        collected(tmp_path / "c", pictures, layers=[])
    with pytest.raises(InputError, match="'input' is the picture itself"):
        collected(tmp_path / "c", pictures, layers=["input"])
    with pytest.raises(InputError, match="'fist' was not collected, only first, second. Did you"):
        collection.vectors("fist")
    with pytest.raises(InputError, match="units 0 to 2, but no 3"):
        collection.examples("first", 3)
    with pytest.raises(InputError, match="no 'best' examples: the kinds are top, high"):
        collection.examples("first", 0, "best")
    missing = next(n for n in range(COUNT + 1) if n not in set(collection._wanted.images))
    with pytest.raises(InputError, match=f"Image {missing} is no example"):
        collection.picture(missing)


# The whole


def test_what_is_known_of_a_collection(collection):
    again = Collection.open(collection.path)
    assert (again.model, again.weights) == ("world", digest(World()))
    assert again.layers == LAYERS
    assert (again.units("first"), again.shape("second")) == (3, (1, SIDE // 2, SIDE // 2))
    assert (again.n_images, again.unreadable, again.settings) == (COUNT, [], SMALL)
    assert "world, 2 layers, 50 images" in repr(again)
    again.verify()


def test_vectors_are_mapped_and_nothing_is_left_over(collection):
    assert not collection.vectors("first").flags.owndata
    assert not collection.vectors("first").flags.writeable
    names = {path.name for path in collection.path.iterdir() if not path.name.startswith(".")}
    pictures = {name for name in names if name.startswith("pictures-")}
    parts = {"plan.json", "manifest.json", "images", "layer-first", "layer-second"}
    assert names == parts | pictures


def test_the_model_is_as_before(tmp_path, pictures):
    model = tiny.Normed()
    model.spec = ModelSpec("normed", (SIDE, SIDE))
    before = tiny.condition(model)
    collected(tmp_path / "c", pictures, model=model, layers=["norm", "relu"])
    assert tiny.condition(model) == before


def test_an_image_that_vanishes_between_the_passes_is_an_error(tmp_path, pictures):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n, picture in enumerate(pictures[:8]):
        Image.fromarray(picture).save(folder / f"{n}.png")
    source = as_source(folder)
    items = source.items

    def vanishing(start, stop):
        yield from items(start, stop)
        if stop >= 8:
            (folder / "5.png").unlink(missing_ok=True)

    source.items = vanishing
    with pytest.raises(InputError, match="Image '5.png' could be read before, but not now"):
        collected(tmp_path / "c", source)
