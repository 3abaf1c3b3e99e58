"""Groups and dictionaries on a network trained on photographs, and what a large grid takes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lucent.recipes import attack, neuron_groups, semantic_dictionary

# At the end of the path: the lucent under test is the one installed.
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.grids import in_a_process

#: Left, top, right and bottom of the dog's head and the cat, as shares of the photograph cut to a
#: square.
HEAD, CAT = (0.1, 0.15, 0.6, 0.5), (0.71, 0.42, 0.95, 0.89)
#: The pictures themselves are no matter here.
QUICK = {"size": 32, "steps": 1}


def inside(values, box):
    """The part of a map (H, W, ...) whose positions lie in a box."""
    height, width = values.shape[:2]
    left, top, right, bottom = (
        round(share * side) for share, side in zip(box, (width, height) * 2, strict=True)
    )
    return values[top:bottom, left:right]


@pytest.fixture(scope="module")
def picture(photo):
    return photo[0].permute(1, 2, 0).numpy()


def test_groups_tell_the_dog_from_the_cat(squeezenet, picture):
    pytest.importorskip("sklearn")
    score = "labels:golden retriever"
    groups = neuron_groups(squeezenet, picture, "features.12", score=score, **QUICK)
    head, cat = (
        np.array([inside(strength, box).mean() for strength in groups.strengths[0]])
        for box in (HEAD, CAT)
    )
    dogs, cats = head > 3 * cat, cat > 3 * head
    assert dogs.any()
    assert cats.any()
    # What the network sees of the dog speaks for a dog more than what it sees of the cat.
    assert groups.attributions[0, dogs].max() > 2 * groups.attributions[0, cats].max()


def test_the_dictionary_has_other_words_for_the_dog_than_for_the_cat(squeezenet, picture):
    found = semantic_dictionary(squeezenet, picture, "features.12", count=1, **QUICK)
    units = found.units[found.indices[..., 0]]
    head, cat = (np.unique(inside(units, box)) for box in (HEAD, CAT))
    assert len(np.intersect1d(head, cat)) < 0.25 * min(len(head), len(cat))


def test_a_change_nobody_sees_makes_the_dog_a_cat(squeezenet, picture):
    found = attack(squeezenet, picture, "tabby", epsilon=0.01, steps=20)
    assert found.captions()[0].startswith("golden retriever")
    assert found.captions()[1].startswith("tabby 99%") or "100%" in found.captions()[1]


@pytest.mark.slow
def test_a_grid_of_14_x_14_cells_fits_into_2_gb():
    pytest.importorskip("sklearn")
    assert in_a_process("activation_grid", steps=2, threads=1)["megabytes"] < 2000
