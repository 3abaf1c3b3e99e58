"""Folders of pictures, in which folders are classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lucent.collect.sources import Item, read_item, shown
from lucent.errors import InputError

#: What Pillow reads and people keep photographs in.
ENDINGS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm",
    ".pgm", ".avif",
)  # fmt: skip


class FolderSource:
    """The pictures in a folder and all folders in it, in the order of their paths.

    The key of a picture is its path within the folder, its class the first folder of that; pictures
    beside such folders have none. What begins with a dot is left out.

    Args:
        folder: the folder.

    Raises:
        InputError: it is no folder, or there is no picture in it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(
                f"There is no folder {str(folder)!r}: give one with pictures, or tar shards as "
                "'name-{000..127}.tar'."
            )
        self._folder = folder
        self._keys = sorted(_pictures(folder))
        self.count = len(self._keys)
        if not self._keys:
            raise InputError(
                f"There is no picture in the folder {str(folder)!r}, nor in those inside it: files "
                f"that end in {', '.join(ENDINGS)} count."
            )
        names = sorted({key.partition("/")[0] for key in self._keys if "/" in key})
        self.classes = tuple(map(shown, names))
        self._numbers = {name: number for number, name in enumerate(names)}

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the folder from others, wherever it is: the names of the pictures."""
        names = hashlib.sha256("\n".join(self._keys).encode("utf-8", "surrogateescape"))
        return {"kind": "folder", "images": self.count, "names": names.hexdigest()[:16]}

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the pictures from `start` to before `stop`."""
        for index in range(start, min(stop, self.count)):
            key = self._keys[index]
            label = self._numbers.get(key.partition("/")[0]) if "/" in key else None
            yield read_item(index, shown(key), partial(_read, self._folder / key, label))


def _read(file: Path, label: int | None) -> tuple[bytes, int | None]:
    return file.read_bytes(), label


def _pictures(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield (Path(place) / name).relative_to(folder).as_posix()
