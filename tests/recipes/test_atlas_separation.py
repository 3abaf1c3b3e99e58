"""The atlas of the embedded network keeps the classes of its generated data set apart."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

# At the end of the path: the lucent under test is the one installed.
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import atlas as benchmark
from lucent.collect import CollectSettings, collect
from lucent.modelzoo import synthnet
from lucent.modelzoo.synthnet import SynthScenes
from lucent.recipes.atlas import AtlasSettings
from lucent.recipes.atlas._drawing import plane
from lucent.recipes.atlas.samples import as_samples


def laid_out(count, folder):
    settings = CollectSettings(attributions=False)
    scenes = SynthScenes(count)
    found = collect(synthnet(), scenes, folder, layers=[benchmark.LAYER], settings=settings)
    samples = as_samples(found, benchmark.LAYER)
    chosen = samples.at(np.arange(len(samples)))
    return plane(chosen, AtlasSettings()), chosen.labels


def test_neighbours_agree_when_classes_lie_in_stripes():
    places = np.random.default_rng(0).random((2000, 2))
    stripes = (places[:, 0] * 2).astype(int)
    assert benchmark.agreement(places, stripes, 10)[0] > 0.9
    # A board of cells, each unlike those beside it: a cell agrees with none of its neighbours.
    board = ((places * 10).astype(int).sum(1)) % 2
    assert benchmark.agreement(places, board, 10)[0] < 0.1
    assert benchmark.agreement(places, board, 10)[1] == 100


@pytest.mark.slow
def test_a_few_images_of_each_class_lie_together(tmp_path):
    positions, labels = laid_out(168, tmp_path)
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argmin(1)
    # 28 classes: chance is 1 in 28.
    assert (labels[nearest] == labels).mean() > 0.4
    shuffled = np.random.default_rng(0).permutation(labels)
    assert (shuffled[nearest] == shuffled).mean() < 0.15


@pytest.mark.slow
def test_four_of_five_cells_have_the_class_of_their_nearest_cell(tmp_path):
    positions, labels = laid_out(8400, tmp_path)
    shuffled = np.random.default_rng(0).permutation(labels)
    assert benchmark.agreement(positions, labels, 40)[0] >= benchmark.WANTED
    assert benchmark.agreement(positions, shuffled, 40)[0] < benchmark.WANTED / 2
