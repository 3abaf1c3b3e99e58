"""What pages say of a network whose weights and pictures are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lucent.collect import CollectSettings, collect
from lucent.modelzoo import ModelSpec
from lucent.report import microscope
from lucent.report.units import Units

HEIGHT, WIDTH = 10, 15
#: Row and column of the one bright pixel in each picture, brighter from one to the next.
SPOTS = ((4, 3), (7, 12), (2, 8), (5, 10))


class Wired(nn.Module):
    """Grey pictures: unit 0 is the pixel in the middle of its field, 1 its negative, 2 nothing."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, bias=False)
        self.second = nn.Conv2d(3, 2, 1, bias=False)
        self.first.weight.data = torch.zeros(3, 1, 3, 3)
        self.first.weight.data[:2, 0, 1, 1] = torch.tensor([1.0, -2.0])
        self.second.weight.data = torch.tensor([[2.0, -3, 0], [0, 7, 0]])[..., None, None]
        self.spec = ModelSpec(
            "wired", input_size=(HEIGHT, WIDTH), channels=1, mean=(0.0,), std=(1.0,)
        )

    def forward(self, x):
        return self.second(self.first(x))


class Spots:
    def __len__(self):
        return len(SPOTS)

    def __getitem__(self, index):
        picture = torch.zeros(1, HEIGHT, WIDTH)
        picture[0][SPOTS[index]] = 0.25 * (index + 1)
        return picture


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The values of the pages by layer and unit."""
    found, folder = {}, tmp_path_factory.mktemp("truth")
    make = Units.pages

    def seen(self, before, after):
        for page in make(self, before, after):
            found[page.layer.name, page.unit] = page
            yield page

    model = Wired().eval()
    settings = CollectSettings(examples=2, attributions=False)
    known = collect(
        model, Spots(), folder / "collection", layers=["first", "second"], settings=settings
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Units, "pages", seen)
        microscope(folder / "site", collection=known, model=model)
    return found


def test_examples_and_their_boxes_are_in_place(pages):
    items = pages["first", 0].examples[0].items
    assert [item.value for item in items] == [1, 0.75]
    for item, (row, column) in zip(items, SPOTS[:1:-1], strict=True):
        assert (item.width, item.height) == (WIDTH, HEIGHT)
        left, top, right, bottom = (column - 1, row - 1, column + 2, row + 2)
        box = (left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT)
        assert item.box == pytest.approx(box)
    assert [item.heat.column for item in items] == [0, 1]


def linked(side):
    return side and (
        [(weight.unit, weight.value) for weight in side.excites],
        [(weight.unit, weight.value) for weight in side.inhibits],
    )


def test_weights_have_their_sign_and_direction(pages):
    assert linked(pages["second", 0].incoming) == ([(0, 2)], [(1, -3)])
    assert linked(pages["second", 1].incoming) == ([(1, 7)], [])
    assert linked(pages["first", 0].outgoing) == ([(0, 2)], [])
    assert linked(pages["first", 1].outgoing) == ([(1, 7)], [(0, -3)])
    assert pages["first", 2].outgoing is None
    assert pages["first", 0].incoming is pages["second", 0].outgoing is None


def test_numbers_are_those_of_the_unit(pages):
    for unit, (low, high) in enumerate([(0, 1), (-2, 0), (0, 0)]):
        histogram = pages["first", unit].histogram
        assert (histogram.low, histogram.high) == (low, high)
        assert histogram.edges[0] <= low <= high <= histogram.edges[-1]
        assert sum(histogram.counts) == len(SPOTS) * (HEIGHT - 2) * (WIDTH - 2)
        assert len(histogram.counts) > 1 or unit == 2
        facts = {fact.name: fact.value for fact in pages["first", unit].facts}
        assert (facts["Smallest"], facts["Largest"]) == (str(low), str(high))
