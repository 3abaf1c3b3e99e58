"""`--data`: what a user types becomes the data set that is meant, or a sentence that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lucent.cli._data import SYNTH_COUNT, data_named
from lucent.errors import InputError, MissingExtra
from lucent.modelzoo.synthnet import SynthScenes


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photographs(folder, n=2):
    folder.mkdir(parents=True)
    for index in range(n):
        Image.fromarray(np.full((4, 4, 3), index, np.uint8)).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize(("name", "count"), [("synth", SYNTH_COUNT), ("synth:30", 30)])
def test_generated_scenes(name, count):
    data = data_named(name)
    assert isinstance(data, SynthScenes)
    assert len(data) == count
    assert torch.equal(data[29][0], SynthScenes(30)[29][0])


def test_a_folder_is_given_on_as_it_is(here, monkeypatch):
    photographs(here / "photos")
    assert data_named("photos") == Path("photos")
    monkeypatch.setenv("HOME", str(here))
    assert data_named("~/photos") == here / "photos"


def test_a_folder_named_like_a_kind_needs_a_slash(here):
    photographs(here / "synth")
    assert data_named("./synth") == Path("synth")


def test_a_data_set_of_torchvision(here):
    photographs(here / "root" / "cats", 3)
    data = data_named("torchvision:ImageFolder@root")
    assert (len(data), data.classes) == (3, ["cats"])


def test_what_datasets_saved(here):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"label": [3, 4]})
    table.save_to_disk(here / "one")
    datasets.DatasetDict(train=table, test=table.select([1])).save_to_disk(here / "two")
    for name in ("one", "hf:one", "hf:two:train"):
        assert data_named(name)["label"] == [3, 4], name
    assert data_named("hf:two:test")["label"] == [4]
    for wrong in ("hf:two", "hf:two:validation"):
        with pytest.raises(InputError, match="train, test"):
            data_named(wrong)


def test_shards_of_tar_files_are_given_on_by_their_pattern():
    assert data_named("wds:photos-{000..003}.tar") == "photos-{000..003}.tar"


def test_a_function_in_a_file_of_the_user(here):
    (here / "mine.py").write_text("def build():\n    return [1, 2]\ndef needy(folder): ...\n")
    assert data_named("mine.py:build") == [1, 2]
    with pytest.raises(InputError, match="needs folder"):
        data_named("mine.py:needy")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("photoes", "no folder 'photoes'.*torchvision:NAME@FOLDER"),
        ("syth:20", "Did you mean 'synth'"),
        ("synth:many", "synth:many.*such as synth:2000"),
        ("synth:0", "at least 1"),
        ("torchvision:CIFAR10", "such as torchvision:CIFAR10@"),
        ("torchvision:CIFAR11@.", "no data set 'CIFAR11'. Did you mean 'CIFAR100'|'CIFAR10'"),
        ("torchvision:CIFAR10@missing", "no folder 'missing'"),
        ("torchvision:CIFAR10@.", "cannot be opened in '.'.*FILE.py:FUNCTION"),
        ("torchvision:Kinetics@.", "cannot be opened in '.'.*FILE.py:FUNCTION"),
        ("wds:photos", "has to name tar files"),
        ("missing.py:build", "no file missing.py"),
    ],
)
def test_what_cannot_be_is_a_sentence_that_helps(here, name, words):
    with pytest.raises(InputError, match=words):
        data_named(name)


def test_a_data_set_that_the_hub_does_not_give(here, monkeypatch):
    datasets = pytest.importorskip("datasets")

    def refuse(name):
        raise FileNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(InputError, match="'nobody/nothing' cannot be loaded.*FILE.py:FUNCTION"):
        data_named("hf:nobody/nothing")


def test_without_the_package_the_sentence_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"torch-lucent\[data\]"):
        data_named("hf:cifar10")
