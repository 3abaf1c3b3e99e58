"""On a network trained on photographs: the dog speaks for a dog, the cat for a cat."""

from __future__ import annotations

import pytest

from lucent.attribution import gradient_x_activation, integrated_gradients, logit

#: Left, top, right and bottom of the dog and the cat, as shares of the photograph cut to a square.
DOG, CAT = (0.0, 0.15, 0.66, 0.88), (0.71, 0.42, 0.95, 0.89)


def mean_inside(values, box):
    """The mean of a map (H, W) over the positions whose centres lie in a box."""
    height, width = values.shape
    left, top, right, bottom = (
        round(share * side) for share, side in zip(box, (width, height) * 2, strict=True)
    )
    return values[top:bottom, left:right].mean().item()


def speaks_for_a_dog(found):
    """Whether attributions to positions are for the dog, and less so against the cat."""
    values = found.spatial()[0]
    dog, cat, everywhere = (mean_inside(values, box) for box in (DOG, CAT, (0, 0, 1, 1)))
    return dog > everywhere > 0 and cat < -dog / 2


@pytest.fixture
def picture(photo):
    return photo[0].permute(1, 2, 0).numpy()


SCORE = logit("golden retriever", minus="tabby")


@pytest.mark.parametrize("layer", ["features.9", "features.12"])
def test_the_dog_speaks_for_a_dog_and_the_cat_for_a_cat(squeezenet, picture, layer):
    assert speaks_for_a_dog(gradient_x_activation(squeezenet, picture, SCORE, layer))


@pytest.mark.parametrize(
    "layer", [pytest.param("features.9", marks=pytest.mark.slow), "features.12"]
)
def test_so_they_do_on_all_of_the_way_from_zero(squeezenet, picture, layer):
    found = integrated_gradients(squeezenet, picture, SCORE, layer)
    assert speaks_for_a_dog(found)
    assert_complete(found)


def test_attributions_add_up_where_the_score_falls_near_zero(squeezenet, picture):
    # The score falls from 3.8 to 0.2 on the first hundredth of the way, and then rises to 11.7.
    assert_complete(integrated_gradients(squeezenet, picture, SCORE, "features.5", steps=30))


def assert_complete(found):
    difference = found.score - found.baseline_score
    assert (found.total - difference).abs() < 0.01 * difference.abs()
