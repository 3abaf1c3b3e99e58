"""Folders that long jobs fill, part by part: killed at any moment, a job goes on where it was.

A part is a folder of files that appears under its name complete or not at all, with the SHA-256 of
each file. `plan.json` is written first and says what the job is; `manifest.json` is written last.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.errors import InputError, LucentWarning, StorageError
from lucent.util import atomic_write, sha256_of

if TYPE_CHECKING:
    from typing_extensions import Self

#: Of the files that this release writes; a reader refuses higher numbers.
_FORMAT = 1
_PLAN, _MANIFEST, _PART, _LOCK = "plan.json", "manifest.json", "part.json", ".lock"
#: What killed jobs leave: parts, and files that `atomic_write` had begun.
_LEFTOVERS = (".part-*", ".plan-*", ".manifest-*")
#: What the plan's file says.
_PLAN_KEYS = {"format", "kind", "plan", "made_with"}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: File systems take names of 255 bytes; what is added to a slug has to fit, too.
_LONGEST = 100
#: How slugs of other names end; a dot at the end is lost on some file systems.
_HASHED = re.compile(r"-[0-9a-f]{16}$|\.$")


def slug(name: str) -> str:
    """Return a name for files and addresses that no other name has.

    >>> slug("features.5"), slug("a/b")
    ('features.5', 'a_b-c14cddc033f64b9d')

    Args:
        name: of a layer, a label ...; what is not a plain name gets 16 digits of its SHA-256.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_LONGEST]
    # Some file systems do not tell A from a, and a dot in front hides a file.
    if plain == name == name.lower() and name[:1].isalnum() and not _HASHED.search(name):
        return plain
    return f"{plain.lstrip('.-') or '_'}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file that appears complete or not at all; equal contents give equal bytes.

    Args:
        path: the file.
        content: what JSON knows, without NaN and infinities.

    Raises:
        StorageError: there is no room for it.
        ValueError: JSON does not know the content.
    """
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with _full_disk(Path(path)), atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read as JSON ({error}): it is damaged or was changed. Delete it and "
            "what belongs to it, and make it again."
        ) from error


class WorkFolder:
    """A folder that a job fills with finished parts. Made by `WorkFolder.opened`.

    Attributes:
        path: of the folder.
        plan: what the job is, as JSON gives it back.
    """

    def __init__(self, path: Path, kind: str, plan: dict[str, Any]) -> None:
        self.path, self.plan, self._kind = path, plan, kind

    @classmethod
    @contextmanager
    def opened(
        cls,
        path: str | os.PathLike[str],
        kind: str,
        plan: Mapping[str, Any],
        *,
        made_with: Mapping[str, Any] | None = None,
    ) -> Iterator[Self]:
        """Begin a job in a folder, or go on with it, with nobody else in it.

        Args:
            path: the folder; it is made when it is not there.
            kind: what jobs of this kind are called.
            plan: what the job is: it goes on only with the same one.
            made_with: on what the job began; another one later is a warning.

        Raises:
            InputError: something else is in the folder, or another plan, or another process is.
            StorageError: what is there is damaged, or there is no room.
        """
        folder = Path(os.path.expanduser(path))
        wanted = {"format": _FORMAT, "kind": kind, "plan": plan, "made_with": made_with or {}}
        wanted = json.loads(json.dumps(wanted))
        _check_foreign(folder, kind)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise InputError(
                f"There can be no folder {str(folder)!r} ({error.strerror}): name another one for "
                f"the {kind}."
            ) from error
        with _locked(folder):
            for pattern in _LEFTOVERS:
                for left in folder.glob(pattern):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            if (folder / _PLAN).exists():
                _check_same(folder, read_json(folder / _PLAN), wanted)
            else:
                write_json(folder / _PLAN, wanted)
            yield cls(folder, kind, wanted["plan"])

    @property
    def finished(self) -> bool:
        """Whether the whole job is done."""
        return (self.path / _MANIFEST).exists()

    @contextmanager
    def part(self, name: str) -> Iterator[Path]:
        """Yield a folder whose files become the part when the block ends well.

        Args:
            name: of the part; there must be none of that name yet.

        Raises:
            StorageError: there is no room for it.
        """
        with _full_disk(self.path):
            # Whoever begins a part, for instance in the place of a damaged one, is not finished.
            (self.path / _MANIFEST).unlink(missing_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=self.path))
            try:
                yield temporary
                files = sorted(f for f in temporary.rglob("*") if f.is_file())
                write_json(
                    temporary / _PART,
                    {
                        file.relative_to(temporary).as_posix(): [
                            file.stat().st_size,
                            sha256_of(file),
                        ]
                        for file in files
                    },
                )
                temporary.chmod(0o755)  # mkdtemp's are private, the results of a job are not
                temporary.rename(self.path / name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def done(self, name: str) -> bool:
        """Return whether a part is there; a damaged one is removed, with a warning."""
        part = self.path / name
        if not part.exists():
            return False
        try:
            check_part(part)
        except StorageError as error:
            warnings.warn(f"{error} It is made again.", LucentWarning, stacklevel=2)
            self.remove(name)
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a part, at once as far as others can see; the job is then not finished."""
        (self.path / _MANIFEST).unlink(missing_ok=True)
        gone = Path(tempfile.mkdtemp(prefix=".part-", dir=self.path)) / "gone"
        with suppress(FileNotFoundError):
            (self.path / name).rename(gone)
        shutil.rmtree(gone.parent, ignore_errors=True)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Say that all parts are there.

        Args:
            manifest: what readers of the whole have to know.
        """
        write_json(self.path / _MANIFEST, {"format": _FORMAT, "kind": self._kind, **manifest})


def begun(path: str | os.PathLike[str], kind: str) -> dict[str, Any] | None:
    """Return the plan of the job that a folder is for, None where none was begun.

    Args:
        path: the folder.
        kind: what the job has to be.

    Raises:
        InputError: it is of another kind, or from a newer lucent.
        StorageError: it is damaged.
    """
    folder = Path(os.path.expanduser(path))
    if not (folder / _PLAN).exists():
        return None
    content = read_json(folder / _PLAN)
    _check_kind(folder, content, kind)
    plan: dict[str, Any] = content["plan"]
    return plan


def finished(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the plan and the manifest of a finished folder.

    Args:
        path: the folder.
        kind: what it has to be.

    Raises:
        InputError: it is not there, not finished, of another kind, or from a newer lucent.
        StorageError: it is damaged.
    """
    folder = Path(os.path.expanduser(path))
    plan = begun(folder, kind)
    if plan is None:
        raise InputError(f"{str(folder)!r} is no folder of a {kind}: there is no {_PLAN} in it.")
    if not (folder / _MANIFEST).exists():
        raise InputError(
            f"The {kind} in {str(folder)!r} is not finished: run again what began it, and it goes "
            "on where it was."
        )
    return plan, read_json(folder / _MANIFEST)


def check_part(part: Path) -> None:
    """Read a part and compare it with what was written.

    Raises:
        StorageError: a file of it is missing or was changed.
    """
    listed = read_json(part / _PART)
    if not isinstance(listed, dict) or not all(
        isinstance(facts, list) and len(facts) == 2 for facts in listed.values()
    ):
        raise StorageError(f"{part / _PART} is damaged: it does not say what files there are.")
    for name, (size, sha256) in listed.items():
        file = part / name
        if not file.is_file() or file.stat().st_size != size or sha256_of(file) != sha256:
            raise StorageError(f"{file} is damaged: it is not what was written.")


def _check_foreign(folder: Path, kind: str) -> None:
    others = () if not folder.is_dir() or (folder / _PLAN).exists() else folder.iterdir()
    if names := sorted(other.name for other in others if not other.name.startswith(".")):
        raise InputError(
            f"{str(folder)!r} is not empty, and no {kind} was begun in it (it holds {names[0]!r}): "
            "name a new folder."
        )


def _check_kind(folder: Path, begun: Any, kind: str) -> None:
    if not isinstance(begun, dict) or not begun.keys() >= _PLAN_KEYS:
        raise StorageError(f"{folder / _PLAN} is damaged: delete the folder and make it again.")
    if begun["kind"] != kind:
        raise InputError(
            f"{str(folder)!r} holds a {begun['kind']}, not a {kind}: name another folder."
        )
    if begun["format"] > _FORMAT:
        raise InputError(
            f"{str(folder)!r} was written by a newer lucent (format {begun['format']}, known is "
            f"{_FORMAT}): pip install --upgrade torch-lucent."
        )


def _check_same(folder: Path, begun: Any, wanted: Mapping[str, Any]) -> None:
    _check_kind(folder, begun, wanted["kind"])
    if differences := "; ".join(_differences(begun["plan"], wanted["plan"])):
        raise InputError(
            f"{str(folder)!r} holds a {wanted['kind']} of another plan ({differences}). Go on with "
            "the same settings as before, name another folder, or delete this one."
        )
    if differences := "; ".join(_differences(begun["made_with"], wanted["made_with"])):
        warnings.warn(
            f"The {wanted['kind']} in {str(folder)!r} was begun under other conditions "
            f"({differences}): the last bits of its numbers may differ between its parts.",
            LucentWarning,
            stacklevel=5,
        )


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yield where two values of JSON differ, "name: before, now after", the first few."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        yield f"{name}: {_short(before)} before, {_short(now)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    import filelock  # torch depends on it

    try:
        # The operating system opens it again when its owner dies, however that happens.
        with filelock.FileLock(folder / _LOCK, timeout=0):
            yield
    except filelock.Timeout as error:
        raise InputError(
            f"Another process is at work in {str(folder)!r}: wait for it, end it, or name another "
            "folder."
        ) from error


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageError(
            f"There is no room to write in {str(folder)!r} ({error.strerror}). What is finished "
            "stays: make room and run the same again, and it goes on."
        ) from error
