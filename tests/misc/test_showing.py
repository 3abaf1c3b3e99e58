"""Pictures in a notebook."""

from __future__ import annotations

import base64
import io
import re

import IPython.display
import numpy as np
import pytest
import torch
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io import show
from lucent.misc.io.pictures import to_pil
from lucent.misc.io.showing import as_html

PICTURES = np.random.default_rng(0).random((3, 4, 5, 3))


def shown(html):
    """The pictures on a page, as arrays."""
    data = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(part)))) for part in data]


def assert_shows(html, pictures):
    for found, picture in zip(shown(html), pictures, strict=True):
        np.testing.assert_array_equal(found, np.asarray(to_pil(np.asarray(picture))))


@pytest.mark.parametrize("picture", [PICTURES[0], PICTURES[0, ..., 0], PICTURES[0, ..., :1]])
def test_one_picture_is_shown_exactly(picture):
    assert_shows(as_html(picture), [picture])
    assert_shows(as_html(torch.from_numpy(picture)), [picture])


@pytest.mark.parametrize("kind", [np.asarray, list, tuple, torch.from_numpy])
def test_several_pictures_are_shown_in_their_order(kind):
    assert_shows(as_html(kind(PICTURES)), PICTURES)


def test_result_of_an_optimisation_is_shown():
    picture = torch.from_numpy(PICTURES[0]).requires_grad_()
    assert_shows(as_html(picture), [PICTURES[0]])
    assert_shows(as_html([picture, PICTURES[1]]), PICTURES[:2])


def test_small_pictures_are_enlarged_without_blur():
    html = as_html(PICTURES[0], width=200)
    assert 'width="200"' in html
    assert "image-rendering:pixelated" in html
    assert "width=" not in as_html(PICTURES[0])
    assert as_html(PICTURES, width=200).count('width="200"') == 3


def captions(html):
    return re.findall(r">([^<>]*)<br/>", html)


def test_several_pictures_have_captions():
    assert captions(as_html(PICTURES)) == ["0", "1", "2"]
    assert captions(as_html(PICTURES, labels=["fox", 7, 0.5])) == ["fox", "7", "0.5"]


def test_captions_are_text():
    assert captions(as_html(PICTURES[:1], labels=["a < b & c"])) == ["a &lt; b &amp; c"]


@pytest.mark.parametrize("labels", [[], ["one"], ["1", "2", "3", "4"]])
def test_another_number_of_labels(labels):
    with pytest.raises(InputError, match=f"3 pictures but {len(labels)} labels"):
        as_html(PICTURES, labels=labels)


def test_what_is_no_picture():
    with pytest.raises(InputError, match=r"shape \(4, 5, 2\) is no picture"):
        as_html(PICTURES[0, ..., :2])
    with pytest.raises(InputError, match="is no picture"):
        as_html(np.zeros(3))


def test_show_displays_the_page(monkeypatch):
    displayed = []
    monkeypatch.setattr(IPython.display, "display", displayed.append)
    assert show(PICTURES, labels="abc", width=9) is None
    assert [page.data for page in displayed] == [as_html(PICTURES, labels="abc", width=9)]
