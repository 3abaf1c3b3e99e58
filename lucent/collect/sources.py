"""Where images come from: folders, data sets, loaders, tar shards and functions, all alike.

A source yields items by number. One with random access begins anywhere at once; a stream is read
from its beginning and skipped by counting.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from lucent.errors import InputError

#: What data sets and Pillow raise about a picture that is damaged or not there.
UNREADABLE = (
    OSError, ValueError, LookupError, SyntaxError, EOFError, RuntimeError, ArithmeticError,
    Image.DecompressionBombError, tarfile.TarError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        index: its number in the source, from 0 on.
        key: what the source calls it.
        picture: what `photograph` takes, or the bytes of a picture file; None where it cannot be
            read.
        label: number of its class, None where there is none.
        reason: why it cannot be read, "" where it can.
    """

    index: int
    key: str
    picture: Any = None
    label: int | None = None
    reason: str = ""


@runtime_checkable
class Source(Protocol):
    """Images by number, the same each time.

    Attributes:
        classes: names of its labels, in the order of their numbers; () where it has none.
        count: number of its images, None where that is known at its end only.
        identity: what tells it from other data, as JSON: a run goes on with the same only.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def count(self) -> int | None: ...

    @property
    def identity(self) -> dict[str, Any]: ...

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images from `start` to before `stop`, or to the end of the source.

        An image that cannot be read is an item with a reason, not an error.
        """
        ...


def as_source(data: Any) -> Source:
    """Return images in the form of a source.

    >>> from lucent.modelzoo.synthnet import SynthScenes
    >>> source = as_source(SynthScenes(100))
    >>> source.count, [item.label for item in source.items(26, 30)]
    (100, [26, 27, 0, 1])

    Args:
        data: a folder of images, in which folders are classes; a map-style or an iterable data set
            of PyTorch or Hugging Face; a DataLoader that does not shuffle, of which the data set is
            taken; WebDataset shards as a pattern that ends in .tar, such as "x-{000..127}.tar"; a
            sequence of pictures; a function that returns an iterable of pictures or of
            (picture, label), the same each time; or a source.

    Raises:
        InputError: it is none of these, is empty, or its order changes from time to time.
    """
    from lucent.collect._archives import TarSource, is_pattern
    from lucent.collect._folders import FolderSource
    from lucent.collect._rows import is_hugging_face, rows_of

    if isinstance(data, str | os.PathLike):
        name = os.path.expanduser(os.fspath(data))
        return TarSource(name) if is_pattern(name) else FolderSource(Path(name))
    if isinstance(data, DataLoader):
        return as_source(_in_order(data))
    if isinstance(data, Source):
        return data
    if is_hugging_face(data):
        return rows_of(data)
    if isinstance(data, IterableDataset):
        return StreamSource(lambda: data, type(data).__name__, _classes_of(data))
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return IndexedSource(data)
    if callable(data):
        return StreamSource(data, getattr(data, "__qualname__", type(data).__name__))
    raise InputError(
        f"A {type(data).__name__} is no data set: give a folder of images, a data set of PyTorch "
        "or Hugging Face, a DataLoader, 'shards-{000..127}.tar', or a function that returns an "
        "iterable of pictures."
    )


def _in_order(loader: DataLoader[Any]) -> Dataset[Any]:
    stream = isinstance(loader.dataset, IterableDataset)
    batches: Any = loader.batch_sampler
    own = loader.sampler if batches is None else batches
    sampler = own.sampler if type(own) is BatchSampler else own
    if not stream and not isinstance(sampler, SequentialSampler):
        raise InputError(
            f"The DataLoader draws its images by a {type(sampler).__name__}, not from the first to "
            "the last, so that a run that was cut off could not go on: give its data set, "
            "loader.dataset, or make it with shuffle=False. Some images only are "
            "torch.utils.data.Subset(dataset, indices)."
        )
    return loader.dataset


class IndexedSource:
    """The images of what has a length and gives one by its number.

    Args:
        data: its items are pictures, or tuples that begin with a picture and a label, or mappings.

    Raises:
        InputError: it is empty.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self.count = len(data)
        self.classes = _classes_of(data)
        self.identity: dict[str, Any] = {
            "kind": "data set", "type": type(data).__qualname__, "images": self.count,
        }  # fmt: skip
        if not self.count:
            raise InputError(f"The {type(data).__name__} is empty: there is no image in it.")

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images from `start` to before `stop`."""
        for index in range(start, min(stop, self.count)):
            yield read_item(index, str(index), partial(self._data.__getitem__, index))


class StreamSource:
    """The images of an iterable, which is begun anew where it has to go back.

    Args:
        begin: gives it, the same each time: pictures, or tuples that begin with a picture and a
            label, or mappings.
        name: for errors.
        classes: names of its labels.
    """

    count = None

    def __init__(
        self, begin: Callable[[], Iterable[Any]], name: str, classes: tuple[str, ...] = ()
    ) -> None:
        self._begin, self._name, self.classes = begin, name, classes
        self._at = 0
        self._open: Iterator[Any] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the source from others."""
        return {"kind": "stream", "type": self._name}

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images from `start` to before `stop`, or to the end."""
        if self._open is None or self._at > start:
            self._open, self._at = iter(self._begin()), 0
        skipped = sum(1 for _ in islice(self._open, start - self._at))
        self._at += skipped
        while self._at < stop:
            index, failed = self._at, ""
            try:
                given = next(self._open, _END)
            except UNREADABLE as error:
                given, failed = None, described(error)
            if given is _END:
                return
            self._at += 1
            if failed:
                yield self._after(index, failed)
            else:
                yield read_item(index, str(index), partial(_given, given))

    def _after(self, index: int, reason: str) -> Item:
        """Return an item that could not be read, if the iterable goes on after it."""
        if getattr(self._open, "gi_frame", self) is None:
            raise InputError(
                f"{self._name} ended with an error after {index} images ({reason}), and a "
                "generator cannot go on after one: let it yield what can be read only, or "
                "give a data set whose images are read one by one, by __getitem__."
            )
        return Item(index, str(index), reason=reason)


_END = object()
#: How mappings call the picture; the endings are those that WebDataset gives.
_PICTURE_NAMES = ("image", "img", "picture", "pixel_values", "jpg", "jpeg", "png", "webp")


def _given(thing: Any) -> Any:
    return thing


def read_item(index: int, key: str, read: Callable[[], Any]) -> Item:
    """Return an item of what a data set gives.

    Args:
        index: number of the image.
        key: its name where the data set gives none.
        read: returns a picture, a tuple that begins with a picture and a label, or a mapping with
            an image or the reason why there is none under "reason".
    """
    try:
        return _item(index, key, read())
    except UNREADABLE as error:
        return Item(index, key, reason=described(error))


def described(error: BaseException) -> str:
    """Return what an error says in one line.

    >>> described(ValueError("not this" + chr(10) + "but that"))
    'ValueError: not this'
    """
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def shown(name: str) -> str:
    """Return the name of a file, which is bytes that need not be UTF-8, as text that is."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _item(index: int, key: str, given: Any) -> Item:
    if isinstance(given, dict):
        names = [name for name in _PICTURE_NAMES if name in given]
        if not names:
            raise ValueError(f"there is no image among {sorted(given)}")
        label = given.get("label", given.get("cls"))
        return Item(index, str(given.get("__key__", key)), given[names[0]], as_label(label))
    if isinstance(given, tuple | list):
        label = given[1] if len(given) > 1 else None
        return Item(index, key, given[0], as_label(label))
    return Item(index, key, given)


def as_label(label: Any) -> int | None:
    """Return the number of a class, None for what is no number of one."""
    if hasattr(label, "item") and getattr(label, "numel", lambda: getattr(label, "size", 2))() == 1:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int):
        return None
    # -1 is how test splits say that they have none, and what has 32 bits is no number of a class.
    return label if 0 <= label < 2**31 else None


def _classes_of(data: Any) -> tuple[str, ...]:
    """Return the names of the classes of a data set, also of one that a Subset is of."""
    while not hasattr(data, "classes") and hasattr(data, "dataset"):
        data = data.dataset
    classes = getattr(data, "classes", ())
    # torchvision's ImageNet has tuples of synonyms.
    return tuple(", ".join(c) if isinstance(c, tuple | list) else str(c) for c in classes or ())
