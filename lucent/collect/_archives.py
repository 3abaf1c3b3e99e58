"""WebDataset shards: tar files in which the files of a sample have one name and come together."""

from __future__ import annotations

import glob
import itertools
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lucent.collect._folders import ENDINGS
from lucent.collect.sources import UNREADABLE, Item, described, read_item, shown
from lucent.errors import InputError

#: {000..127}, and {train,val}.
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
#: What a file with the number of the class ends in.
_LABEL = "cls"


def is_pattern(name: str) -> bool:
    """Whether a text names tar files."""
    return name.endswith((".tar", ".tar}"))


class TarSource:
    """The pictures in tar shards, one after another in the order of the pattern.

    The key of a picture is the name that the files of its sample share; the number in a file .cls
    is its class. Headers before the first picture wanted are read, pictures are not.

    Args:
        pattern: paths with ranges {000..127}, choices {a,b}, and the wildcards * and ?.

    Raises:
        InputError: there is no such file.
    """

    classes: tuple[str, ...] = ()
    count = None

    def __init__(self, pattern: str) -> None:
        self._paths = [path for one in _expanded(pattern) for path in _files(one)]
        self._counts: dict[Path, int] = {}  # of pictures, once a shard was read to its end
        self._open: Iterator[Callable[[], Item]] | None = None
        self._at = 0

    def __getstate__(self) -> dict[str, Any]:
        # An open file stays where it is.
        return {**self.__dict__, "_open": None, "_at": 0}

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the shards from others: their names and sizes."""
        return {
            "kind": "tar shards",
            "files": [[shown(path.name), path.stat().st_size] for path in self._paths],
        }

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the pictures from `start` to before `stop`, or to the end."""
        if self._open is None or self._at > start:
            paths, self._at = list(self._paths), 0
            while paths and self._at + self._counts.get(paths[0], start + 1) <= start:
                self._at += self._counts[paths.pop(0)]
            self._open = self._pictures(paths, self._at)
        while self._at < stop and (read := next(self._open, None)):
            self._at += 1
            if self._at > start:
                yield read()

    def _pictures(self, paths: list[Path], at: int) -> Iterator[Callable[[], Item]]:
        """Yield what reads the pictures of shards, whose first one is number `at`."""
        for path in paths:
            first = at
            for read in _shard(path, at):
                yield read
                at += 1
            self._counts[path] = at - first


def _expanded(pattern: str) -> Iterator[str]:
    """Yield what a pattern with braces stands for.

    >>> list(_expanded("a-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    found = _BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, choices = found.groups()
    if choices is None:
        parts = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    else:
        parts = choices.split(",")
    for part in parts:
        yield from _expanded(pattern[: found.start()] + part + pattern[found.end() :])


def _files(name: str) -> list[Path]:
    found = sorted(glob.glob(name)) if glob.has_magic(name) else [name]
    if not found or not Path(found[0]).is_file():
        raise InputError(
            f"There is no tar file {name!r}: give a path, or a pattern such as "
            "'photos-{000..127}.tar' for all of them. What lies elsewhere has to be fetched first."
        )
    return [Path(one) for one in found]


def _shard(path: Path, at: int) -> Iterator[Callable[[], Item]]:
    """Yield what reads the pictures of a shard, whose first one is number `at`.

    A shard that is damaged ends with an item that says so.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for key, members in itertools.groupby(_members(archive), key=lambda pair: pair[0]):
                files = {ending: member for _, (ending, member) in members}
                if any(f".{ending.rpartition('.')[2]}" in ENDINGS for ending in files):
                    yield partial(_sample, at, key, archive, files)
                    at += 1
    except UNREADABLE as error:
        damage = Item(at, shown(path.name), reason=f"the shard is damaged: {described(error)}")
        yield lambda: damage


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, tuple[str, tarfile.TarInfo]]]:
    for member in archive:
        folder, _, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        if member.isfile() and stem:
            yield f"{folder}/{stem}".lstrip("/"), (ending.lower(), member)


def _sample(
    index: int, key: str, archive: tarfile.TarFile, files: dict[str, tarfile.TarInfo]
) -> Item:
    def content(member: tarfile.TarInfo) -> bytes:
        file = archive.extractfile(member)
        return b"" if file is None else file.read()

    def read() -> tuple[bytes, int | None]:
        picture = next(m for e, m in files.items() if f".{e.rpartition('.')[2]}" in ENDINGS)
        label = content(files[_LABEL]).strip() if _LABEL in files else b""
        return content(picture), int(label) if label.isdigit() else None

    return read_item(index, shown(key), read)
