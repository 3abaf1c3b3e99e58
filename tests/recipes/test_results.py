from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from lucent.errors import InputError, MissingExtra
from lucent.recipes.results import Panels, Result


@dataclass(frozen=True, eq=False)
class Squares(Result):
    labels: tuple[str, ...] = ("a", "b", "c <$x$>")
    title: str = "three"

    def panels(self):
        pictures = [np.full((6, 6, channels), 0.5) for channels in (3, 1, 4)]
        return Panels(pictures, self.labels, 2, self.title)


def test_a_sheet_has_all_panels_in_rows():
    sheet = Squares().sheet()
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * (6 + 14) + 4, 2 * 6 + 4, 3)
    assert Squares(labels=()).sheet(width=12).shape == (2 * 12 + 4, 2 * 12 + 4, 3)


def test_showing_displays_the_sheet(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    Squares().show()
    assert "data:image/WEBP" in shown[0].data or "data:image/webp" in shown[0].data


def test_a_figure_for_a_paper_keeps_its_text(tmp_path):
    figure = Squares().plot(size=1)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c <$x$>", ""]
    assert figure.get_suptitle() == "three"
    assert figure.get_figheight() > Squares(title="").plot(size=1).get_figheight()
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(tmp_path / "figure.svg")
    figure.savefig(tmp_path / "figure.pdf")
    text = (tmp_path / "figure.svg").read_text()
    assert re.findall(r">(three|a|b|c &lt;\$x\$&gt;)</text>", text) == [
        "a",
        "b",
        "c &lt;$x$&gt;",
        "three",
    ]
    assert (tmp_path / "figure.pdf").read_bytes()[:4] == b"%PDF"


def test_pictures_of_other_numbers_of_channels_become_colours(tmp_path):
    @dataclass(frozen=True, eq=False)
    class Five(Result):
        def panels(self):
            return Panels([np.random.default_rng(0).random((6, 6, 5))])

    assert Five().sheet().shape == (6, 6, 3)
    (axes,) = Five().plot().axes
    assert axes.images[0].get_array().shape == (6, 6, 3)


def test_figures_are_nobody_elses_business():
    Squares().plot()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"torch-lucent\[plot\]"):
        Squares().plot()


@pytest.mark.parametrize(("pictures", "labels"), [([], ()), ([np.zeros((2, 2, 3))], ("a", "b"))])
def test_panels_without_pictures_or_with_other_labels_are_refused(pictures, labels):
    with pytest.raises(InputError, match="at least one picture and a label for each"):
        Panels(pictures, labels)
