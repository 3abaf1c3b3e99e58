"""The notebooks as they are committed: complete, run, small; the tutorial runs anew."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import nbformat
import pytest

HOME = Path(__file__).parents[1] / "notebooks"
RUN = runpy.run_path(str(HOME / "run.py"))

EXPECTED = {
    "": ["tutorial", "modelzoo", "moving_from_lucid"],
    "feature-visualization": [
        "negative_neurons",
        "diversity",
        "interaction",
        "regularization",
        "any_number_of_channels",
    ],
    "building-blocks": [
        "semantic_dictionary",
        "activation_grid",
        "attr_spatial",
        "attr_channel",
        "neuron_groups",
    ],
    "differentiable-parameterizations": [
        "aligned_interpolation",
        "style_transfer_2d",
        "xy2rgb",
        "transparency",
        "texture_synth_3d",
        "style_transfer_3d",
    ],
    "activation-atlas": ["simple", "class", "aligned", "adversarial_patches"],
    "misc": [
        "feature_inversion_caricatures",
        "neuron_interaction_grids",
        "attribution_caricatures",
        "deepdream",
    ],
}
NOTEBOOKS = sorted(HOME.rglob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_all_notebooks_are_there():
    expected = {HOME / folder / f"{name}.ipynb" for folder in EXPECTED for name in EXPECTED[folder]}
    assert expected <= set(NOTEBOOKS)


@every_notebook
def test_a_notebook_begins_with_its_badge_and_the_installation(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells[:2]] == [
        RUN["badge"](path),
        RUN["installation"](),
    ]


@every_notebook
def test_one_line_changes_the_network(path):
    code = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4))[1:])
    assert len(re.findall(r'^MODEL = "synthnet"  # .*"inceptionv1"', code, re.MULTILINE)) == 1
    assert re.search(r"\bload\(MODEL\)", code)
    assert re.search(r'"inceptionv1": .*?\[MODEL\]', code, re.DOTALL)


@every_notebook
def test_a_notebook_tells_what_to_look_at(path):
    notebook = nbformat.read(path, as_version=4)
    words = " ".join(c.source for c in notebook.cells[1:] if c.cell_type == "markdown").split()
    assert len(words) > 80
    assert notebook.cells[2].source.startswith("# ")


@every_notebook
def test_a_notebook_was_run_from_top_to_bottom_and_shows_its_pictures(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "display_data",
        "execute_result",
        "stream",
    }
    pictures = [
        output
        for output in outputs
        if "data:image/" in output.get("data", {}).get("text/html", "")
        or any(kind.startswith("image/") for kind in output.get("data", {}))
    ]
    assert pictures


@every_notebook
def test_a_notebook_is_small_and_says_nothing_of_the_machine_it_ran_on(path):
    notebook = nbformat.read(path, as_version=4)
    assert RUN["too_large"](notebook) == []
    text = re.sub(r"data:\w+/\w+;base64,[\w+/=]+", "", path.read_text(encoding="utf-8"))
    assert not re.search(r"/home/|/root/|/tmp/|site-packages", text)


def test_what_differs_from_run_to_run_is_left_out():
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "mine", "display_name": "Mine"}}
    )
    output = nbformat.v4.new_output("stream", name="stderr", text="100%")
    notebook.cells = [nbformat.v4.new_code_cell("1", outputs=[output], metadata={"execution": {}})]
    RUN["tidy"](notebook)
    assert (notebook.cells[0].outputs, notebook.cells[0].metadata) == ([], {})
    assert notebook.metadata["kernelspec"]["name"] == "python3"


def test_large_outputs_are_named():
    def notebook(*sizes):
        outputs = [nbformat.v4.new_output("stream", text="x" * size) for size in sizes]
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])

    one, whole = RUN["OUTPUT_SIZE"], RUN["SIZE"]
    assert RUN["too_large"](notebook(one - 1000)) == []
    (problem,) = RUN["too_large"](notebook(one))
    assert re.fullmatch(r"an output of [\d,]+ bytes", problem)
    (problem,) = RUN["too_large"](notebook(*[whole // 4] * 4))
    assert re.fullmatch(r"[\d,]+ bytes of outputs", problem)


def test_a_notebook_that_fails_is_reported_and_not_written(tmp_path, capsys, monkeypatch):
    # Its place among the notebooks is where its badge leads.
    monkeypatch.setitem(RUN["main"].__globals__, "HERE", tmp_path)
    path = tmp_path / "broken.ipynb"
    cells = [nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    before = path.read_bytes()
    assert RUN["main"]([str(path), "--write"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_the_tutorial_runs():
    assert RUN["main"]([str(HOME / "tutorial.ipynb")]) == 0
