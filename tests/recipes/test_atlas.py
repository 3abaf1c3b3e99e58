"""Activation atlases: what is on the map, what its icons show, and folders that go on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from colours import Colours, interrupt_after

from lucent.errors import InputError, LayerError, LucentWarning, StorageError
from lucent.modelzoo.synthvit import synthvit
from lucent.recipes.atlas import (
    AlignedAtlas,
    Atlas,
    AtlasSettings,
    Level,
    Samples,
    activation_atlas,
    aligned_atlas,
    class_atlas,
    compare_classes,
    whitening,
)
from lucent.recipes.atlas._icons import cell_directions, render_cells
from lucent.recipes.atlas.classes import balance, speaking_for

#: Red, green and blue, and a little of everything else.
HUES = np.eye(3, dtype=np.float32) + np.float32(0.05)
FAST = AtlasSettings(grids=(1, 3), density=2, layout="PCA", size=12, steps=24)
PLAIN = {"transforms": [], "batch_size": 8}


def samples(per_hue=8):
    """Activations of `units`, each mostly of one colour; classes for what is red and for blue."""
    rng = np.random.default_rng(0)
    hues = np.arange(3 * per_hue) % 3
    vectors = HUES[hues] * rng.uniform(0.8, 1.2, (len(hues), 1)).astype(np.float32)
    vectors += rng.uniform(0, 0.05, vectors.shape).astype(np.float32)
    apart = vectors[:, :1] - vectors[:, 2:]
    return Samples(
        vectors,
        labels=hues,
        names=("red", "green", "blue"),
        attributions=np.concatenate([apart, -apart], 1),
        classes=("warm", "cold"),
        images=np.arange(len(hues)),
    )


def fast(**changes):
    return dataclasses.replace(FAST, **changes)


def atlas(given=None, *, settings=FAST, **options):
    given = samples() if given is None else given
    return activation_atlas(Colours(), given, "units", settings=settings, **{**PLAIN, **options})


def assert_same(first, second):
    assert len(first.levels) == len(second.levels) > 0
    for one, other in zip(first.levels, second.levels, strict=True):
        for field in dataclasses.fields(Level):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.samples, second.samples)
    for name in ("layer", "title", "about", "classes", "interrupted"):
        assert getattr(first, name) == getattr(second, name)


@pytest.fixture(scope="module")
def made():
    return atlas()


def test_icons_show_the_colour_of_the_samples_in_their_cell(made):
    level = made.levels[1]
    assert set(level.labels) == {"red", "green", "blue"}
    middle = level.icons[:, 5:8, 5:8].mean((1, 2))
    beyond = middle - middle.mean(1, keepdims=True)
    assert [level.labels[cell] for cell in beyond.argmax(0)] == ["red", "green", "blue"]
    assert (level.shares == 1).all()


def test_levels_have_the_averages_of_their_cells(made):
    given, (whole, fine) = samples(), made.levels
    assert whole.counts.tolist() == [24]
    np.testing.assert_allclose(whole.vectors[0], given.vectors.mean(0), atol=1e-6)
    np.testing.assert_allclose(whole.attributions[0], given.attributions.mean(0), atol=1e-6)
    assert fine.counts.sum() <= 24
    assert fine.counts.min() >= 2
    place = np.clip(np.floor(made.positions * 3), 0, 2)
    for n in range(len(fine)):
        inside = (place == (fine.columns[n], fine.rows[n])).all(1)
        np.testing.assert_allclose(fine.vectors[n], given.vectors[inside].mean(0), atol=1e-6)


def test_icons_are_what_files_of_bytes_can_hold(made):
    icons = made.levels[1].icons
    assert icons.dtype == np.float32
    np.testing.assert_allclose(icons * 255, np.rint(icons * 255), atol=1e-4)


def test_a_map_is_white_but_for_its_cells(made):
    level = made.levels[1]
    canvas = level.canvas()
    assert canvas.shape == (36, 36, 3)
    for n in range(len(level)):
        row, column = 12 * level.rows[n], 12 * level.columns[n]
        assert np.array_equal(canvas[row : row + 12, column : column + 12], level.icons[n])
        canvas[row : row + 12, column : column + 12] = 1
    assert (canvas == 1).all()
    assert level.canvas(10).shape == (10, 10, 3)
    with pytest.raises(InputError):
        level.canvas(0)


def test_texts_say_what_is_in_a_cell(made):
    (text,) = made.levels[0].texts(made.classes)
    assert text.startswith("red (33%)\n24 samples\nspeaks for ")
    (unnamed,) = made.levels[0].texts()
    assert "speaks for class " in unnamed


def test_vectors_alone_make_an_atlas():
    given = torch.from_numpy(samples().vectors)
    level = atlas(given, settings=fast(grids=(1,), steps=1)).levels[0]
    assert level.labels == ()
    assert level.texts() == ("24 samples",)
    assert level.attributions is None


def test_without_labels_cells_are_called_by_their_attributions():
    given = dataclasses.replace(samples(), labels=None)
    level = atlas(given, settings=fast(grids=(1,), steps=1)).levels[0]
    wins = (given.attributions.argmax(1) == 0).mean()
    assert level.labels == ("warm" if wins >= 0.5 else "cold",)
    assert level.shares[0] == pytest.approx(max(wins, 1 - wins))


def test_the_model_comes_back_as_it_was():
    model = Colours().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    activation_atlas(model, samples(), "units", settings=fast(steps=1), **PLAIN)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.units._forward_hooks


def test_fewer_samples_are_those_that_the_seed_chooses():
    found = atlas(settings=fast(limit=10, steps=1, density=1))
    assert np.array_equal(found.samples, samples().chosen(10, 0))
    assert len(found.positions) == 10
    np.testing.assert_allclose(
        found.levels[0].vectors[0], samples().vectors[found.samples].mean(0), atol=1e-6
    )


def test_directions_are_the_formula():
    vectors = np.abs(np.random.default_rng(0).standard_normal((5, 3)))
    W = whitening(vectors.T @ vectors / 5, 0.1)
    for white, S in [(None, np.eye(3)), (W, np.linalg.matrix_power(W, 2))]:
        found = cell_directions(vectors, white)
        for own, direction in zip(vectors, found, strict=True):
            np.testing.assert_allclose(direction, own @ S / (own @ S @ own), rtol=1e-4)


def test_whitened_icons_leave_out_what_is_active_everywhere():
    given = samples()
    bright = dataclasses.replace(given, vectors=given.vectors + np.float32([0, 3, 0]))
    green = {}
    for white in (False, True):
        settings = fast(grids=(3,), whiten_icons=white, border=0, steps=64)
        level = atlas(bright, settings=settings).levels[0]
        green[white] = level.icons[level.labels.index("red"), 6, 6, 1]
    assert green[False] > 0.9
    assert green[True] < 0.5


def test_the_best_of_several_attempts_is_kept():
    directions = cell_directions(HUES, None)
    plain = fast(size=6, steps=3, border=0)
    alone = [
        render_cells(
            Colours(), "units", directions, dataclasses.replace(plain, seed=seed), **PLAIN
        ).images
        for seed in range(4)
    ]
    centre = np.stack(alone)[:, :, 3, 3]  # (attempts, cells, channels)
    dot = (centre * directions).sum(-1)
    cosine = dot / np.linalg.norm(centre, axis=-1) / np.linalg.norm(directions, axis=-1)
    best = (dot * np.maximum(0.1, cosine) ** 2).argmax(0)
    assert len(set(best)) > 1  # otherwise this would show nothing
    several = dataclasses.replace(plain, attempts=4)
    kept = render_cells(Colours(), "units", directions, several, **PLAIN)
    for cell, attempt in enumerate(best):
        assert np.array_equal(kept.images[cell], alone[attempt][cell])


def test_a_border_that_counts_is_calm():
    calm, wild = (
        atlas(settings=fast(grids=(1,), border=border, size=24, steps=48)).levels[0].icons[0]
        for border in (3.0, 0.0)
    )
    edge = np.ones((24, 24), bool)
    edge[5:-5, 5:-5] = False
    assert np.abs(calm[edge] - 0.5).mean() < np.abs(wild[edge] - 0.5).mean()


def test_transparent_icons_have_a_fourth_channel():
    settings = fast(alpha=True, attempts=2, steps=2)
    level = activation_atlas(Colours(), samples(), "units", settings=settings).levels[1]
    assert level.icons.shape[1:] == (12, 12, 4)
    assert level.canvas().shape == (36, 36, 3)


def test_an_atlas_is_opened_as_it_was_saved(made, tmp_path):
    made.save(tmp_path / "map")
    assert_same(Atlas.open(tmp_path / "map"), made)
    assert (tmp_path / "map" / "level_3" / "level_3.png").exists()
    made.save(tmp_path / "map")  # once more is no other atlas
    other = dataclasses.replace(made, positions=1 - made.positions)
    with pytest.raises(InputError, match="another plan"):
        other.save(tmp_path / "map")


def test_an_atlas_that_is_cut_off_goes_on_where_it_was(made, tmp_path, monkeypatch):
    monkeypatch.setattr("lucent.recipes.atlas._drawing.CHUNK", 2)
    monkeypatch.setattr("lucent.recipes.atlas._folder.CHUNK", 2)
    rendered = []

    def kill(run):
        rendered.append(len(run.image()))
        if len(rendered) == 30:
            raise RuntimeError("killed")

    folder = tmp_path / "map"
    settings = fast(grids=(1, 3), steps=9)
    options = {"settings": settings, "out": folder}
    with pytest.raises(RuntimeError, match="killed"):
        atlas(**options, callbacks=[kill])
    with pytest.raises(InputError, match="not finished"):
        Atlas.open(folder)
    steps = []
    atlas(**options, callbacks=[lambda run: steps.append(run.step)])
    whole = []
    unbroken = atlas(settings=settings, callbacks=[lambda run: whole.append(run.step)])
    assert 0 < len(steps) < len(whole)
    assert_same(Atlas.open(folder), unbroken)


def test_a_finished_folder_is_not_made_again(tmp_path):
    settings = fast(steps=1)
    first = atlas(settings=settings, out=tmp_path)
    calls = []
    again = atlas(settings=settings, out=tmp_path, callbacks=[calls.append])
    assert not calls
    assert_same(first, again)


@pytest.mark.parametrize("changed", ["settings", "samples", "weights"])
def test_a_folder_does_not_go_on_with_another_atlas(changed, tmp_path):
    settings = fast(steps=1, grids=(1,))
    atlas(settings=settings, out=tmp_path)
    model, given = Colours(), samples()
    if changed == "settings":
        settings = dataclasses.replace(settings, seed=1)
    elif changed == "samples":
        given.vectors[0, 0] += 1
    else:
        with torch.no_grad():
            model.units.weight[0] += 1
    with pytest.raises(InputError, match=changed if changed != "settings" else "seed"):
        activation_atlas(model, given, "units", settings=settings, out=tmp_path, **PLAIN)


def test_damage_is_noticed_and_mended(tmp_path):
    settings = fast(steps=1, grids=(1,))
    first = atlas(settings=settings, out=tmp_path)
    part = tmp_path / "icons_1_0000" / "icons.npy"
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        Atlas.open(tmp_path)
    with pytest.warns(LucentWarning, match="damaged"):
        atlas(settings=settings, out=tmp_path)
    assert_same(Atlas.open(tmp_path), first)


def test_ctrl_c_returns_what_is_finished_and_the_folder_goes_on(tmp_path):
    settings = fast(steps=2)
    cut = atlas(settings=settings, out=tmp_path, callbacks=[interrupt_after(1)])
    assert cut.interrupted
    assert cut.levels[0].done.all()
    assert not cut.levels[1].done.any()
    assert (cut.levels[1].icons == 0.5).all()
    assert_same(atlas(settings=settings, out=tmp_path), atlas(settings=settings))


def test_a_class_has_the_samples_it_wins_and_the_strongest():
    attributions = np.array([[3.0, 1], [1, 2], [2, 5], [-1, -2], [-3, -1], [0.5, 4]])
    given = Samples(np.zeros((6, 2)), attributions=attributions)
    assert speaking_for(given, 0, 0).tolist() == [0, 3]
    assert speaking_for(given, 0, 2).tolist() == [0, 2, 3]
    # Only positive ones count as speaking for it.
    assert speaking_for(given, 0, 6).tolist() == [0, 1, 2, 3, 5]


def test_the_atlas_of_a_class_shows_what_speaks_for_it():
    given = samples()
    found = class_atlas(Colours(), given, "units", label="warm", settings=FAST, **PLAIN)
    wins = np.flatnonzero(given.attributions[:, 0] > given.attributions[:, 1])
    assert np.array_equal(found.samples, wins)
    assert found.about == ("warm",)
    assert "blue" not in found.levels[1].labels
    weighted = class_atlas(
        Colours(), given, "units", label=0, settings=fast(weighted=True, steps=1), **PLAIN
    )
    own = given.attributions[wins, 0].clip(0)
    wanted = np.average(given.vectors[wins], axis=0, weights=own)
    np.testing.assert_allclose(weighted.levels[0].vectors[0], wanted, atol=1e-5)


def test_differences_run_from_left_to_right():
    places = balance(np.array([-2.0, -1, 0, 1, 2] * 100))
    assert places[:5].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (balance(np.zeros(4)) == 0.5).all()
    # One outlier does not press all others together.
    assert balance(np.array([1.0] * 999 + [1000]))[0] == 1


def test_a_comparison_has_its_first_class_at_the_right(tmp_path):
    settings = fast(grids=(2,), strongest=24)
    found = compare_classes(
        Colours(), samples(), "units", labels=("cold", "warm"), settings=settings, **PLAIN
    )
    level = found.levels[0]
    at = {label: level.columns[level.labels.index(label)] for label in ("red", "blue")}
    assert at == {"red": 0, "blue": 1}
    assert found.about == ("cold", "warm")
    assert "← warm · cold →" in found.page()
    found.save(tmp_path)
    assert_same(Atlas.open(tmp_path), found)


def test_classes_that_are_not_there_are_refused():
    for label in ("hot", 2, -1):
        with pytest.raises(InputError, match="no class"):
            class_atlas(Colours(), samples(), "units", label=label)
    with pytest.raises(InputError, match="one class"):
        compare_classes(Colours(), samples(), "units", labels=("warm", 0))
    with pytest.raises(InputError, match="attributions"):
        class_atlas(Colours(), samples().vectors, "units", label="warm")


def aligned(**options):
    first = samples()
    # What `groups` makes of the same colours.
    second = dataclasses.replace(first, vectors=first.vectors @ _groups())
    return aligned_atlas(
        (Colours(), Colours()),
        (first, second),
        ("units", "groups"),
        settings=FAST,
        **{**PLAIN, **options},
    )


def _groups():
    return Colours().groups.weight.detach().numpy()[:, :, 0, 0].T


def test_aligned_atlases_have_the_same_samples_in_the_same_cells(tmp_path):
    both = aligned(out=tmp_path)
    assert np.array_equal(both.first.positions, both.second.positions)
    for one, other in zip(both.first.levels, both.second.levels, strict=True):
        assert np.array_equal(one.counts, other.counts)
        assert np.array_equal(one.rows, other.rows)
        np.testing.assert_allclose(one.vectors @ _groups(), other.vectors, atol=1e-5)
    assert both.second.levels[1].icons.shape[1:] == (12, 12, 3)
    opened = AlignedAtlas.open(tmp_path)
    assert_same(opened.first, both.first)
    assert_same(opened.second, both.second)
    assert len(both.panels().pictures) == 4


def test_ctrl_c_in_the_first_of_two_ends_both():
    both = aligned(callbacks=[interrupt_after(0)])
    assert both.first.interrupted
    assert both.second.interrupted
    assert not both.second.levels[0].done.any()


def test_samples_of_other_pictures_are_not_aligned():
    given = samples()
    moved = dataclasses.replace(given, images=given.images[::-1])
    for other, words in [(moved, "of picture 0"), (samples(4), "12 samples")]:
        with pytest.raises(InputError, match=words):
            aligned_atlas((Colours(), Colours()), (given, other), ("units", "units"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"grids": ()},
        {"grids": (20, 10)},
        {"density": 0},
        {"steps": -1},
        {"attempts": 0},
        {"layout": "umap"},
        {"seed": -1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        AtlasSettings(**wrong)


def test_what_is_no_atlas_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no activations"):
        activation_atlas(Colours(), [1, 2], "units")
    with pytest.raises(LayerError):
        activation_atlas(Colours(), samples(), "nowhere", settings=FAST)
    with pytest.raises(InputError):
        Atlas.open(tmp_path)


def test_the_tokens_of_a_transformer_have_an_atlas():
    vectors = np.random.default_rng(0).random((12, 128), dtype=np.float32)
    model = synthvit()
    given = vectors[:, : model.head.in_features]
    found = activation_atlas(model, given, "blocks.2", settings=fast(grids=(1,), size=96, steps=1))
    assert found.levels[0].icons.shape == (1, 96, 96, 3)
    assert found.levels[0].done.all()
