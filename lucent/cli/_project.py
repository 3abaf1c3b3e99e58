"""The folder that holds everything of one network: collection/, sweep/, atlas/LAYER/, site/."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.cli._shared import MODEL, add_device, add_model, moved
from lucent.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def add_project(command: argparse.ArgumentParser) -> None:
    """Add the folder, the network in it, and how to go on with what it holds."""
    command.add_argument(
        "out", type=Path, metavar="OUT", help="folder of one network; it is made when missing"
    )
    add_model(command, default=None)
    add_device(command)
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done, and how long and how large it would be; write nothing",
    )
    command.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with what a command that was cut off has left, or refuse to (default: go on)",
    )


@dataclass(frozen=True)
class Project:
    """Where things lie in the folder of a network."""

    path: Path

    @property
    def collection(self) -> Path:
        """What `lucent collect` fills."""
        return self.path / "collection"

    @property
    def sweep(self) -> Path:
        """What `lucent sweep` fills."""
        return self.path / "sweep"

    @property
    def site(self) -> Path:
        """What `lucent microscope` makes."""
        return self.path / "site"

    def atlas(self, layer: str, label: str | None = None) -> Path:
        """Return what `lucent atlas` fills for a layer, or for a class in it."""
        from lucent.folders import slug

        return self.path / "atlas" / slug(layer if label is None else f"{layer}:{label}")

    def atlases(self) -> list[Path]:
        """Return the finished atlases, by their names."""
        return sorted(file.parent for file in self.path.glob("atlas/*/manifest.json"))

    def model(self, args: argparse.Namespace) -> nn.Module:
        """Return the network that the options name, else the one that the folder is about.

        Raises:
            InputError: the folder is about another network.
        """
        from lucent.layers import unwrap
        from lucent.modelzoo.registry import load
        from lucent.weights import digest

        known = self._known()
        same = args.model is None
        name = args.model or known.get("model", MODEL)
        weights = args.weights or (known.get("weights") if same else None)
        model = load(name, weights=weights, trust=args.trust)
        found = {
            "model": _lasting(name),
            "weights": _whole(weights),
            "digest": digest(unwrap(model)),
        }
        if known and known["digest"] != found["digest"]:
            raise InputError(
                f"{str(self.path)!r} is about the network {known['model']} ({known['digest']}), "
                f"which is not what --model and --weights name ({name}, {found['digest']}): a "
                "folder holds one network. Name another folder, or leave --model out."
            )
        if not (known or args.dry_run):
            from lucent.folders import write_json

            write_json(self._about, found)
        return moved(model, args.device)

    def knows_its_model(self) -> bool:
        """Return whether an earlier command said which network the folder is about."""
        return self._about.exists()

    @property
    def _about(self) -> Path:
        return self.path / "project.json"

    def _known(self) -> dict[str, Any]:
        from lucent.folders import read_json

        found: dict[str, Any] = read_json(self._about) if self._about.exists() else {}
        return found


def _lasting(name: str) -> str:
    """Return the name of a network as it is found from every folder."""
    from lucent.modelzoo import _local

    return str(Path(name).expanduser().resolve()) if _local.is_local(name) else name


def _whole(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().resolve())


def check_new(folder: Path, args: argparse.Namespace) -> None:
    """Refuse a folder that holds something already where that was asked for.

    Raises:
        InputError: --no-resume, and the folder is there.
    """
    if not args.resume and folder.exists():
        raise InputError(
            f"{str(folder)!r} is there already. Leave --no-resume out to go on with it, name "
            "another folder, or delete this one."
        )
