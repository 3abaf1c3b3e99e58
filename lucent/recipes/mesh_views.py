"""Views of a textured mesh as an image to optimise: what recipes on meshes share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.generators import AnyGenerator, Generators
from lucent.misc.io.showing import textured_mesh
from lucent.misc.mesh import Mesh, sample_view
from lucent.misc.mesh_rendering import MeshRenderer, orbit
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.defaults import DEFAULT_IMAGE_SIZE
from lucent.optvis.history import History
from lucent.optvis.param import ConstantImage, Image, bilinearly_sampled_image
from lucent.optvis.param.spatial import is_count
from lucent.recipes.results import Panels, Result

#: Rays along each side of a pixel, whose colours are averaged: fewer make jagged edges, and dots
#: where the texture is seen at an angle.
_SAMPLES = 2


@dataclass(frozen=True)
class Scene:
    """How a mesh is seen while it is painted.

    The field of view is 10 degrees, as in Lucid, so that a normalised mesh fills the picture from
    about 12.

    Attributes:
        size: height and width of a view in pixels; None is that of the network's pictures.
        texture_size: (height, width) of the texture in texels, or both; None makes a texel about as
            large as a pixel of a view, and square on the average, however the mesh was unfolded.
        distances: smallest and largest distance of the camera from the origin; the defaults are
            Lucid's.
        background: what is beside the mesh, grey, in [0, 1].

    Raises:
        InputError: a value is out of range.
    """

    size: int | None = None
    texture_size: int | tuple[int, int] | None = None
    distances: tuple[float, float] = (11.0, 13.0)
    background: float = 0.5

    def __post_init__(self) -> None:
        texels = self.texture_size if isinstance(self.texture_size, tuple) else (self.texture_size,)
        if not all(n is None or is_count(n) for n in (self.size, *texels)) or len(texels) > 2:
            raise InputError(
                f"{self!r} cannot be seen: sizes are whole numbers of at least 1, such as size=128 "
                "and texture_size=512 or (height, width)."
            )
        if not isinstance(self.background, Real) or not 0 <= self.background <= 1:
            raise InputError(f"background={self.background!r} has to be a grey in [0, 1].")
        if np.shape(self.distances) != (2,) or not 0 < self.distances[0] <= self.distances[1]:
            raise InputError(
                f"distances={self.distances} has to be the smallest and the largest distance of "
                "the camera, both positive, such as (11, 13)."
            )

    def completed(self, renderer: MeshRenderer, spec: ModelSpec) -> Scene:
        """Return the scene with sizes that suit a mesh and a network where there are none."""
        size = self.size or spec.image_size or DEFAULT_IMAGE_SIZE
        texels = self.texture_size or renderer.texture_size(size, sum(self.distances) / 2)
        both = texels if isinstance(texels, tuple) else (texels, texels)
        return replace(self, size=size, texture_size=both)


class MeshViews(Image):
    """A textured mesh as cameras in random directions see it, another one after each draw.

    >>> from lucent.misc.mesh_shapes import sphere
    >>> from lucent.optvis import param
    >>> views = MeshViews(MeshRenderer(sphere()), param.image(128, 64), Scene(size=48))
    >>> views.draw(torch.Generator().manual_seed(0))
    >>> views().shape
    torch.Size([1, 3, 48, 48])

    Args:
        renderer: of the mesh.
        texture: what is optimised, (B, C, H, W); the images of a batch are on the same mesh, seen
            by the same camera.
        scene: with a size.
    """

    seen: Tensor

    def __init__(self, renderer: MeshRenderer, texture: Image, scene: Scene) -> None:
        super().__init__()
        self.renderer, self.texture, self.scene = renderer, texture, scene
        self.register_buffer("seen", torch.empty(0), persistent=False)
        self.look(orbit(1)[0])

    def draw(self, generator: AnyGenerator = None) -> None:
        """Put the camera somewhere else; of generators for each image the first one says where."""
        super().draw(generator)
        own = next(iter(generator)) if isinstance(generator, Generators) else generator
        self.look(sample_view(*self.scene.distances, generator=own))

    def look(self, view: np.ndarray) -> None:
        """Look from a certain camera, until the next draw.

        Args:
            view: its modelview matrix, (4, 4).
        """
        rays = self.renderer.render(view, (self.scene.size or DEFAULT_IMAGE_SIZE) * _SAMPLES)
        self.seen = torch.from_numpy(rays).to(self.seen)

    def forward(self) -> Tensor:
        """Return the view, (B, C, H, W)."""
        colours = bilinearly_sampled_image(self.texture(), self.seen[..., :2])
        view = torch.where(self.seen[..., 2] > 0, colours, self.scene.background)
        return F.avg_pool2d(view, _SAMPLES)


@dataclass(frozen=True, eq=False)
class MeshTexture(Result):
    """A mesh and the texture that was made for it.

    Attributes:
        mesh: as it was given.
        texture: (H, W, 3) in [0, 1], the first row at the top, where v is 1.
        history: losses and values of the objective over the run.
    """

    mesh: Mesh
    texture: np.ndarray
    history: History

    def views(self, count: int = 8, *, size: int = 192) -> np.ndarray:
        """Return all of the mesh from cameras around it, on white, (count, size, size, 3).

        Args:
            count: number of views, at equal angles around the vertical axis.
            size: height and width in pixels.

        Raises:
            InputError: there is no view.
        """
        if not is_count(count):
            raise InputError(f"count={count!r} has to be a number of views, at least 1.")
        scene = Scene(size=size, background=1.0)
        image = MeshViews(MeshRenderer(self.mesh), ConstantImage(self.texture), scene)
        radius = np.linalg.norm(np.asarray(self.mesh["position"]).reshape(-1, 3), axis=1).max()
        pictures = []
        # A ball of radius 1 fits from a distance of 12.
        for view in orbit(count, distance=12 * radius):
            image.look(view)
            pictures.append(image()[0].movedim(0, -1).numpy())
        return np.stack(pictures)

    def panels(self) -> Panels:
        """Return the mesh from eight sides."""
        pictures = self.views()
        labels = [f"{360 * n // len(pictures)} degrees" for n in range(len(pictures))]
        return Panels(list(pictures), labels, columns=4)

    def show(self) -> None:
        """Show the mesh in the notebook, to be turned and unfolded; see `textured_mesh`."""
        textured_mesh(self.mesh, self.texture)
