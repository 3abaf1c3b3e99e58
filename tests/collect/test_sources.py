"""Sources: each kind of data gives the same items, damaged ones with a reason."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from collect.world import SIDE, Labelled, World, images
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
)  # fmt: skip

from lucent.collect import CollectSettings, Item, Source, as_source, collect
from lucent.errors import InputError
from lucent.modelzoo.synthnet import SynthScenes

COUNT = 10
PICTURES = images(COUNT)


def encoded(picture, fmt="PNG"):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, fmt)
    return file.getvalue()


def folder(home):
    """Three pictures in b/, five in a/, two beside them, and things that are no pictures."""
    for name in ("a/sub", "b", ".hidden"):
        (home / name).mkdir(parents=True)
    names = ["a/1.PNG", "a/2.png", "a/3.png", "a/sub/0.png", "a/ü 'q'.png"]
    names += ["b/0.png", "b/1.png", "b/2.png"]
    for name, picture in zip([*names, "x.png", "y.png"], PICTURES, strict=True):
        (home / name).write_bytes(encoded(picture))
    for name in (".hidden/0.png", "a/.0.png", "notes.txt"):
        (home / name).write_bytes(b"")
    return home


def tars(home, per_shard=4, damaged=()):
    """Shards x-00.tar ... with a picture and its class in each sample."""
    for n, picture in enumerate(PICTURES):
        with tarfile.open(home / f"x-{n // per_shard:02d}.tar", "a") as archive:
            content = b"nothing" if n in damaged else encoded(picture)
            for ending, data in (("png", content), ("cls", str(n % 3).encode()), ("json", b"{}")):
                member = tarfile.TarInfo(f"train/{n:04d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return f"{home}/x-{{00..{(COUNT - 1) // per_shard:02d}}}.tar"


def hugging_face(stream=False):
    datasets = pytest.importorskip("datasets")
    rows = {
        "label": [n % 3 for n in range(COUNT)],
        "photo": [{"bytes": encoded(picture), "path": None} for picture in PICTURES],
    }
    names = datasets.ClassLabel(names=["a", "b", "c"])
    features = datasets.Features({"photo": datasets.Image(), "label": names})
    found = datasets.Dataset.from_dict(rows, features=features)
    return found.to_iterable_dataset() if stream else found


class Stream(IterableDataset):
    def __iter__(self):
        return iter((torch.from_numpy(p).movedim(-1, 0), n % 3) for n, p in enumerate(PICTURES))


SOURCES = {
    "folder": folder,
    "tars": tars,
    "one tar": lambda home: tars(home, per_shard=COUNT).replace("{00..00}", "00"),
    "list": lambda home: list(PICTURES),
    "data set": lambda home: Labelled(PICTURES),
    "tensors": lambda home: TensorDataset(
        torch.from_numpy(PICTURES).movedim(-1, 1), torch.arange(COUNT) % 3
    ),
    "subset": lambda home: Subset(Labelled(images(2 * COUNT)), range(COUNT)),
    "loader": lambda home: DataLoader(Labelled(PICTURES), batch_size=3),
    "stream": lambda home: Stream(),
    "loader of a stream": lambda home: DataLoader(Stream(), batch_size=2),
    "function": lambda home: lambda: iter([(p, n % 3) for n, p in enumerate(PICTURES)]),
    "mappings": lambda home: [
        {"image": Image.fromarray(p), "label": n % 3} for n, p in enumerate(PICTURES)
    ],
    "hugging face": lambda home: hugging_face(),
    "hugging face stream": lambda home: hugging_face(stream=True),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_pictures_in_order_from_anywhere(kind, tmp_path):
    source = as_source(SOURCES[kind](tmp_path))
    assert isinstance(source, Source)
    settings = CollectSettings(examples=COUNT, shard=4, batch=2, margin=0)
    found = collect(World(), source, tmp_path / "out", layers=["first"], settings=settings)
    assert found.n_images == COUNT
    assert found.unreadable == []
    for index in range(COUNT):
        assert np.array_equal(found.picture(index), PICTURES[index])
    whole = list(source.items(0, COUNT))
    assert [item.index for item in whole] == list(range(COUNT))
    for start, stop in [(4, 9), (0, 1), (9, 30), (3, 3), (30, 40)]:
        some = list(source.items(start, stop))
        assert [(i.index, i.key, i.label) for i in some] == [
            (i.index, i.key, i.label) for i in whole[start:stop]
        ]


@pytest.mark.parametrize("kind", sorted(SOURCES.keys() - {"folder", "list"}))
def test_labels_come_with_the_pictures(kind, tmp_path):
    source = as_source(SOURCES[kind](tmp_path))
    assert [item.label for item in source.items(0, COUNT)] == [n % 3 for n in range(COUNT)]
    if kind in ("data set", "subset", "loader", "hugging face", "hugging face stream"):
        assert source.classes == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["folder", "tars", "data set", "list"])
def test_sources_with_random_access_go_to_workers(kind, tmp_path):
    source = as_source(SOURCES[kind](tmp_path))
    next(source.items(3, 5))  # opens what it is read from
    again = pickle.loads(pickle.dumps(source))
    assert again.identity == source.identity
    keys = [item.key for item in source.items(5, 8)]
    assert [item.key for item in again.items(5, 8)] == keys


def test_folders_are_classes(tmp_path):
    source = as_source(str(folder(tmp_path)))
    assert source.classes == ("a", "b")
    items = list(source.items(0, COUNT))
    assert [item.label for item in items] == [0] * 5 + [1] * 3 + [None] * 2
    assert [item.key for item in items][3:6] == ["a/sub/0.png", "a/ü 'q'.png", "b/0.png"]


def test_a_folder_is_known_by_its_pictures_wherever_it_is(tmp_path):
    first, second = (as_source(folder(tmp_path / name)).identity for name in "ab")
    assert first == second
    (tmp_path / "a" / "y.png").rename(tmp_path / "a" / "z.png")
    assert as_source(tmp_path / "a").identity != first


def test_tars_are_known_by_their_names_and_sizes(tmp_path):
    pattern = tars(tmp_path)
    assert as_source(pattern).identity["files"][1] == [
        "x-01.tar",
        (tmp_path / "x-01.tar").stat().st_size,
    ]
    assert [item.key for item in as_source(pattern).items(3, 5)] == ["train/0003", "train/0004"]
    assert len(list(as_source(f"{tmp_path}/x-*.tar").items(0, 99))) == COUNT
    assert len(list(as_source(f"{tmp_path}/x-{{00,02}}.tar").items(0, 99))) == 6


def test_a_damaged_picture_in_a_tar_and_a_damaged_tar_are_items_with_a_reason(tmp_path):
    pattern = tars(tmp_path, damaged=[1])
    cut = tmp_path / "x-01.tar"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    settings = CollectSettings(examples=2, shard=4, batch=2)
    found = collect(World(), pattern, tmp_path / "out", layers=["first"], settings=settings)
    reasons = {one.key: one.reason for one in found.unreadable}
    assert "UnidentifiedImageError" in reasons["train/0001"]
    assert any("shard is damaged" in r or "ReadError" in r for k, r in reasons.items() if k > "x")
    assert {"train/0008", "train/0009"} <= set(found.images()["key"].to_pylist())


@pytest.mark.parametrize("stream", [False, True])
def test_a_damaged_row_of_hugging_face_is_an_item_with_a_reason(stream, tmp_path):
    datasets = pytest.importorskip("datasets")
    good = {"bytes": encoded(PICTURES[0]), "path": None}
    rows = [good, {"bytes": b"x", "path": None}, None, {"bytes": None, "path": "gone.png"}, good]
    data = datasets.Dataset.from_dict(
        {"image": rows}, features=datasets.Features({"image": datasets.Image()})
    )
    data = data.to_iterable_dataset() if stream else data
    found = collect(World(), data, tmp_path / "c", layers=["first"])
    assert found.n_images == 2
    assert [one.index for one in found.unreadable] == [1, 2, 3]


def test_errors_of_a_data_set_are_reasons_and_misuse_is_an_error(tmp_path):
    class Broken(Labelled):
        def __getitem__(self, index):
            if index in (2, 5):
                raise OSError(f"disk error\nat {index}")
            if index == 6:
                raise self.misuse
            return super().__getitem__(index)

    data = Broken(PICTURES)
    data.misuse = ValueError("bad")
    found = collect(World(), data, tmp_path / "c", layers=["first"])
    assert [one.reason for one in found.unreadable] == [
        "OSError: disk error", "OSError: disk error", "ValueError: bad",
    ]  # fmt: skip
    data.misuse = TypeError("a mistake in the data set")
    with pytest.raises(TypeError, match="a mistake"):
        collect(World(), data, tmp_path / "d", layers=["first"])


class GoesOn:
    """An iterator that fails once and goes on."""

    def __init__(self):
        self.at = -1

    def __iter__(self):
        return self

    def __next__(self):
        self.at += 1
        if self.at == 3:
            raise OSError("once")
        if self.at == COUNT:
            raise StopIteration
        return PICTURES[self.at]


def test_a_stream_that_goes_on_after_an_error_does_so_and_a_dead_generator_is_an_error():
    items = list(as_source(GoesOn).items(0, 99))
    assert len(items) == COUNT
    assert [item.index for item in items if item.reason] == [3]

    def dies():
        yield PICTURES[0]
        raise OSError("the end")

    with pytest.raises(InputError, match="ended with an error after 1 images .*the end"):
        list(as_source(dies).items(0, 99))


def test_streams_are_begun_anew_only_to_go_back():
    begun = []

    def stream():
        begun.append(None)
        yield from PICTURES

    source = as_source(stream)
    for start in (0, 3, 6):
        assert [i.index for i in source.items(start, start + 3)] == [*range(start, start + 3)]
    assert len(begun) == 1
    assert next(source.items(2, 3)).index == 2
    assert len(begun) == 2


def test_a_loader_that_shuffles_is_an_error():
    data = Labelled(PICTURES)
    with pytest.raises(InputError, match="RandomSampler, not from the first .* shuffle=False"):
        as_source(DataLoader(data, shuffle=True))
    batches = BatchSampler(RandomSampler(data), 2, False)
    with pytest.raises(InputError, match="a RandomSampler, not from the first"):
        as_source(DataLoader(data, batch_sampler=batches))
    with pytest.raises(InputError, match="a list, not from the first"):
        as_source(DataLoader(data, batch_sampler=[[7], [2, 3]]))


def test_tars_are_read_on_not_anew(tmp_path, monkeypatch):
    source, opened = as_source(tars(tmp_path)), []
    plain = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda path, *rest: opened.append(path) or plain(path))
    for start, stop in [(0, 3), (3, 5), (7, 8), (9, 20)]:
        keys = [f"train/{n:04d}" for n in range(start, min(stop, COUNT))]
        assert [item.key for item in source.items(start, stop)] == keys
    assert [path.name for path in opened] == ["x-00.tar", "x-01.tar", "x-02.tar"]
    # What lies before is counted by now.
    assert next(source.items(5, 6)).key == "train/0005"
    assert [path.name for path in opened[3:]] == ["x-01.tar"]


def test_names_in_a_tar_need_not_be_unicode(tmp_path):
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        member = tarfile.TarInfo("caf\xe9.png")
        content = encoded(PICTURES[0])
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    found = collect(World(), file, tmp_path / "out", layers=["first"])
    assert found.examples("first", 0)[0].key == "caf?"


def test_names_of_folders_need_not_be_unicode(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    for place in (tmp_path / "data" / "a", tmp_path / "data" / name):
        place.mkdir(parents=True)
        (place / f"{name}.png").write_bytes(encoded(PICTURES[0]))
    found = collect(World(), tmp_path / "data", tmp_path / "out", layers=["first"])
    assert found.data_labels == ("a", "caf?")
    assert found.images()["key"].to_pylist() == ["a/caf?.png", "caf?/caf?.png"]
    assert found.images()["label"].to_pylist() == [0, 1]


def test_what_is_no_number_of_a_class_is_no_label():
    data = [(PICTURES[0], label) for label in (2**31 - 1, 2**31, -1, True, "cat", np.int64(4))]
    found = [item.label for item in as_source(data).items(0, 9)]
    assert found == [2**31 - 1, None, None, None, None, 4]


def test_a_transform_of_hugging_face_is_an_error():
    data = hugging_face().with_transform(lambda rows: rows)
    with pytest.raises(InputError, match=r"has a transform.* data.with_format\(None\)"):
        as_source(data)
    assert as_source(data.with_format(None)).count == COUNT
    assert as_source(hugging_face().with_format("torch")).count == COUNT


def test_an_iterator_that_cannot_begin_anew_is_an_error(tmp_path):
    once = iter(PICTURES[:1])
    with pytest.raises(InputError, match="is another one each time"):
        collect(World(), lambda: once, tmp_path / "out", layers=["first"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "The list is empty"),
        (Labelled([]), "The Labelled is empty"),
        (3, "A int is no data set: give a folder of images"),
        ("/nowhere/at/all", "There is no folder '/nowhere/at/all'"),
        ("/nowhere/x-{00..02}.tar", "There is no tar file '/nowhere/x-00.tar'"),
        ("/nowhere/*.tar", r"There is no tar file '/nowhere/\*.tar'"),
    ],
)
def test_what_is_no_data_is_an_error(data, text):
    with pytest.raises(InputError, match=text):
        as_source(data)


def test_empty_folders_and_streams_are_errors(tmp_path):
    with pytest.raises(InputError, match="There is no picture in the folder"):
        as_source(tmp_path)
    with pytest.raises(InputError, match="The data set is empty: it gave no image"):
        collect(World(), lambda: iter(()), tmp_path / "c", layers=["first"])


def test_several_hugging_face_splits_or_no_images_are_errors():
    datasets = pytest.importorskip("datasets")
    with pytest.raises(InputError, match=r"several data sets: pick one, such as data\['train'\]"):
        as_source(datasets.DatasetDict({"train": hugging_face()}))
    with pytest.raises(InputError, match="no column of images: its columns are"):
        as_source(datasets.Dataset.from_dict({"text": ["a"]}))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]
)
def test_pictures_of_every_mode_can_be_read(mode, tmp_path):
    grey = Image.fromarray(np.full((SIDE, SIDE), 128, np.uint8))
    picture = grey.convert("I").point(lambda v: v * 257) if mode.startswith("I") else grey
    picture = picture.convert(mode) if mode != "F" else grey.convert("F").point(lambda v: v / 255)
    found = collect(World(), [picture] * 2, tmp_path / "c", layers=["first"])
    if mode == "1":
        assert set(np.unique(found.picture(0))) <= {0, 255}
    else:
        assert np.abs(found.picture(0).astype(int) - 128).max() <= 2


def test_photographs_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned to the right
    file = io.BytesIO()
    Image.fromarray(PICTURES[0]).save(file, "PNG", exif=exif)
    found = collect(World(), [file.getvalue()], tmp_path / "c", layers=["first"])
    assert np.array_equal(found.picture(0), np.rot90(PICTURES[0], -1))


def test_the_generated_data_set_is_a_source():
    source = as_source(SynthScenes(50, seed=3))
    (item,) = source.items(30, 31)
    assert isinstance(item, Item)
    assert (item.key, item.label) == ("30", 2)
    assert source.classes[2] == "horizontal stripes"
    assert source.count == 50
