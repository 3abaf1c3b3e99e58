"""What is attributed: logits, units, strengths, in words and as functions."""

from __future__ import annotations

import pickle
from inspect import isfunction

import numpy as np
import pytest
import tiny
import torch

from lucent.attribution import as_score, log_odds, logit, logsumexp, strength, unit
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.modelzoo import ModelSpec


class Three(torch.nn.Module):
    """The logits of three classes are the colours of the picture."""

    spec = ModelSpec(name="three", labels=("cat, tabby", "dog", "bird"))

    def forward(self, x):
        return x.mean((2, 3))


LOGITS = np.array([[0.9, 0.5, 0.2], [0.1, 0.3, 0.7]])


def value(score, model=None, images=None):
    model = model or Three()
    images = torch.tensor(LOGITS)[..., None, None] if images is None else images
    with Activations(model, None) as T:
        T.labels = model.spec.labels
        T.run(images)
        return score(T).numpy()


def together(*classes):
    return np.log(np.exp(LOGITS[:, classes]).sum(1))


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (logit(1), LOGITS[:, 1]),
        (logit("Tabby"), LOGITS[:, 0]),
        (logit(np.int64(2), minus=np.int64(0)), LOGITS[:, 2] - LOGITS[:, 0]),
        (logit("dog", minus="bird"), LOGITS[:, 1] - LOGITS[:, 2]),
        (logit(["cat", 1]), together(0, 1)),
        (logit("bird", minus=[0, "dog"]), LOGITS[:, 2] - together(0, 1)),
        (log_odds("dog"), LOGITS[:, 1] - together(0, 2)),
        (log_odds([0, 2]), together(0, 2) - LOGITS[:, 1]),
        (logsumexp(), together(0, 1, 2)),
        (logsumexp([0, 2]), together(0, 2)),
        (as_score(np.int64(2)), LOGITS[:, 2]),
        (as_score("labels:tabby"), LOGITS[:, 0]),
        (as_score("labels:2"), LOGITS[:, 2]),
        (as_score(lambda T: 2 * T("labels")[:, 1]), 2 * LOGITS[:, 1]),
    ],
    # The text of a function has its address, which differs between processes.
    ids=lambda value: value.__name__ if isfunction(value) else repr(value),
)
def test_a_score_of_classes(score, expected):
    assert np.allclose(value(score), expected)


def test_log_odds_are_those_of_the_probabilities():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    assert np.allclose(value(log_odds("dog")), np.log(p[:, 1] / (1 - p[:, 1])))


def test_units_and_strengths_of_positions():
    image = torch.rand(2, 3, 4, 5)
    acts = image.numpy()

    def of(score):
        return value(score, tiny.Calling(torch.nn.Identity()), image)

    assert np.allclose(of(unit("function:2")), acts[:, 2].mean((1, 2)))
    assert np.allclose(of(unit("function:2:4:1")), acts[:, 2, 1, 4])
    assert np.allclose(of(strength("function", 4, 1)), np.linalg.norm(acts[:, :, 1, 4], axis=1))
    assert np.allclose(of(strength("function")), np.sqrt((acts**2).sum((1, 2, 3))))


def test_scores_say_what_they_are_and_can_be_pickled():
    scores = {
        "logit('dog', minus='cat')": logit("dog", minus="cat"),
        "logit([1, 'cat'])": logit([1, "cat"]),
        "log_odds('dog')": log_odds("dog"),
        "logsumexp()": logsumexp(),
        "unit('mixed4a:3:5:2')": as_score("mixed4a:3:5:2"),
        "strength('mixed4a', x=3, y=2)": strength("mixed4a", 3, 2),
    }
    for text, score in scores.items():
        assert repr(score) == text
        assert pickle.loads(pickle.dumps(score)) == score


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: logit([]), "The list of classes is empty: name at least one"),
        (lambda: logit("dog", minus=[]), "The list of classes is empty"),
        (lambda: as_score(0.5), "0.5 is no score: give .labels:name"),
        (lambda: as_score("mixed4a"), "is not of the form 'layer:channel'"),
        (lambda: strength("a", x=3), "x=3 and y=None were given: give both"),
        (lambda: value(logit("wolf")), "has no label 'wolf'"),
        (lambda: value(logit(3)), "There is no class 3: the network has 3, 0 to 2."),
        (lambda: value(log_odds([0, 1, 2])), "is about all 3 classes"),
        (lambda: value(unit("labels:7")), "There is no channel 7"),
        (
            lambda: value(logit(0), tiny.Calling(torch.nn.Identity()), torch.rand(1, 3, 2, 2)),
            r"the layer 'labels' gives \(1, 3, 2, 2\): name the layer that has them",
        ),
    ],
)
def test_what_is_no_score_is_told_so(make, says):
    with pytest.raises(InputError, match=says):
        make()
