"""What the pages of a site are made from: plain values, the contract with the templates.

Every path in them is relative to the folder of the site, with "/" between its parts; the templates
make URLs of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What a unit is called after: a class of the network, or the label that most of its examples have.
Naming = Literal["class", "examples", ""]


@dataclass(frozen=True)
class Fact:
    """A line of a table.

    Attributes:
        name: what it is about.
        value: in words, or a number that is formatted already.
    """

    name: str
    value: str


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet of equal ones.

    Attributes:
        path: of the sheet.
        column: of the picture, from the left, from 0.
        row: from the top, from 0.
        columns: pictures in a row of the sheet.
        rows: rows of the sheet.
    """

    path: str
    column: int
    row: int
    columns: int
    rows: int


@dataclass(frozen=True)
class Sprite:
    """A sheet with the icons of consecutive units of a layer, row by row.

    Attributes:
        path: of the sheet.
        size: of an icon, in pixels.
        columns: icons in a row.
        rows: rows of icons.
        first: the place of the first icon's unit among the units of the layer, from 0.
        count: of icons.
    """

    path: str
    size: int
    columns: int
    rows: int
    first: int
    count: int

    def cell(self, place: int) -> Cell:
        """Return the icon of the unit at a place among the units of the layer."""
        row, column = divmod(place - self.first, self.columns)
        return Cell(self.path, column, row, self.columns, self.rows)


@dataclass(frozen=True)
class LayerRef:
    """What a link to a layer takes.

    Attributes:
        name: of the layer in the network.
        slug: of its files.
    """

    name: str
    slug: str

    @property
    def path(self) -> str:
        """Of its page."""
        return f"layers/{self.slug}.html"


@dataclass(frozen=True)
class UnitRef:
    """What a link to a unit takes.

    Attributes:
        layer: that it belongs to.
        unit: number of its channel.
        label: see `UnitSummary`.
        icon: a picture of it.
    """

    layer: LayerRef
    unit: int
    label: str
    icon: Cell | None

    @property
    def path(self) -> str:
        """Of its page."""
        return f"units/{self.layer.slug}/{self.unit}.html"

    @property
    def name(self) -> str:
        """Layer and unit, as everywhere in lucent."""
        return f"{self.layer.name}:{self.unit}"


@dataclass(frozen=True)
class UnitSummary:
    """A unit in the grid of its layer.

    Attributes:
        unit: number of its channel.
        label: name of its class or what its examples show, or "".
        score: activation of the unit on its picture, None where there is none.
        sparsity: share of positions, 0 to 1, where it is 0 or below; None without a collection.
    """

    unit: int
    label: str
    score: float | None
    sparsity: float | None


@dataclass(frozen=True)
class LayerPage(LayerRef):
    """The page of a layer.

    Attributes:
        facts: about the layer.
        icon: that stands for it, None where no unit has a picture.
        sprites: sheets with the icons of all units, in order.
        units: in order.
        naming: what the labels of the units are.
        previous: the layer before it on the site.
        next: the one after it.
    """

    facts: tuple[Fact, ...]
    icon: Cell | None
    sprites: tuple[Sprite, ...]
    units: tuple[UnitSummary, ...]
    naming: Naming = ""
    previous: LayerRef | None = None
    next: LayerRef | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)


@dataclass(frozen=True)
class Render:
    """Pictures of one kind that were made for a unit.

    Attributes:
        kind: "channel", "neuron", "diversity" or "negative".
        title: of the kind, for people.
        files: paths of the pictures, several for diversity.
        score: activation of the unit on the first of them, None where it is not known.
    """

    kind: str
    title: str
    files: tuple[str, ...]
    score: float | None


@dataclass(frozen=True)
class ExampleItem:
    """A picture of the data set and what the unit makes of it.

    Attributes:
        picture: its path.
        heat: map to lay over the picture: transparent where the unit is 0, orange where it is
            above, blue where it is below; None where the layer has no positions.
        box: left, top, right and bottom of what the unit sees where it is strongest, as fractions
            of the picture.
        value: activation there.
        key: name of the picture in the data set.
        label: of the picture in the data set, or "".
        width: of the picture in pixels.
        height: of the picture in pixels.
    """

    picture: str
    heat: Cell | None
    box: tuple[float, float, float, float]
    value: float
    key: str
    label: str
    width: int
    height: int


@dataclass(frozen=True)
class ExampleGroup:
    """Examples from one part of the distribution of a unit's activations.

    Attributes:
        kind: "top", "high", "middle", "random" or "low".
        title: of the kind, for people.
        items: strongest first, of "low" weakest first.
    """

    kind: str
    title: str
    items: tuple[ExampleItem, ...]


@dataclass(frozen=True)
class Histogram:
    """How often a unit has which activation; its bars are drawn with equal widths.

    Attributes:
        edges: where a bar begins or ends, in increasing order; away from zero they grow by a
            constant factor.
        counts: of activations in each bar, one less than edges.
        zero: place of the bar that holds zero, which is as wide as what is too small to tell; None
            where all activations are on one side of it.
        low: smallest activation.
        high: largest activation.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zero: int | None
    low: float
    high: float


@dataclass(frozen=True)
class Weight(UnitRef):
    """A connection, by the unit of a neighbouring layer at its other end.

    Attributes:
        value: sum of its positive weights over positions, or of its negative ones.
        heat: all its weights by position: orange above 0, blue below.
    """

    value: float
    heat: Cell | None


@dataclass(frozen=True)
class Weights:
    """The strongest connections of a unit with a neighbouring layer.

    Attributes:
        layer: at the other end.
        excites: by sums of positive weights, strongest first.
        inhibits: by sums of negative weights, strongest first.
    """

    layer: LayerRef
    excites: tuple[Weight, ...]
    inhibits: tuple[Weight, ...]


@dataclass(frozen=True)
class Similar(UnitRef):
    """A unit of the same layer that is active in the same places.

    Attributes:
        correlation: of their activations over the positions of the data set, -1 to 1.
    """

    correlation: float


@dataclass(frozen=True)
class UnitPage(UnitRef):
    """The page of a unit.

    Attributes:
        naming: what the label is.
        previous: number of the unit before it in its layer.
        next: number of the one after it.
        renders: pictures made for it; empty without a sweep.
        examples: pictures of the data set; empty without a collection.
        histogram: of its activations; None without a collection.
        facts: about its activations.
        incoming: from the layer before it; None where it is not known.
        outgoing: to the layer after it; None where it is not known.
        similar: most similar first; empty without a collection.
        missing: sentences that say what is not there, and how to get it.
    """

    naming: Naming = ""
    previous: int | None = None
    next: int | None = None
    renders: tuple[Render, ...] = ()
    examples: tuple[ExampleGroup, ...] = ()
    histogram: Histogram | None = None
    facts: tuple[Fact, ...] = ()
    incoming: Weights | None = None
    outgoing: Weights | None = None
    similar: tuple[Similar, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class AtlasCell:
    """A cell of an atlas.

    Attributes:
        row: from the top, from 0.
        column: from the left, from 0.
        count: of activations in it.
        label: what they stand for most, or "".
        share: of the activations with that label, 0 to 1; None where it is not known.
    """

    row: int
    column: int
    count: int
    label: str
    share: float | None


@dataclass(frozen=True)
class AtlasLevel:
    """An atlas at one resolution, as a pyramid of tiles, each level half as large as the next.

    Tiles are those of Deep Zoom without overlap: level `last` has the full size, and the picture of
    column x and row y of level z is `{tiles}/{z}/{x}_{y}.webp`, transparent where there is no cell.
    All resolutions of an atlas cover the same square.

    Attributes:
        grid: cells on a side.
        size: width and height in pixels.
        tile: width and height of a tile, of those on the border at most.
        first: the largest level that is a single tile, and the smallest one there is.
        last: the largest level.
        tiles: path of the folder of the tiles.
        cells: that are not empty.
    """

    grid: int
    size: int
    tile: int
    first: int
    last: int
    tiles: str
    cells: tuple[AtlasCell, ...]


@dataclass(frozen=True)
class AtlasPage:
    """The page of an atlas.

    Attributes:
        name: title of the atlas.
        slug: of its files.
        layer: name of the layer whose activations it shows.
        layer_slug: of the page of that layer, "" where the site has none.
        preview: path of a small picture of the whole.
        facts: about it.
        levels: from coarse to fine.
    """

    name: str
    slug: str
    layer: str
    layer_slug: str
    preview: str
    facts: tuple[Fact, ...]
    levels: tuple[AtlasLevel, ...]

    @property
    def path(self) -> str:
        """Of the page."""
        return f"atlas/{self.slug}.html"


@dataclass(frozen=True)
class Site:
    """All that the pages share.

    Attributes:
        title: of the site.
        model: name of the network.
        facts: about the network, the pictures and the data set.
        layers: in the order of the network.
        atlases: in the order given.
        has_sweep: whether there are pictures made for units.
        has_collection: whether there are examples and statistics.
        has_weights: whether there are weights between layers.
    """

    title: str
    model: str
    facts: tuple[Fact, ...]
    layers: tuple[LayerPage, ...]
    atlases: tuple[AtlasPage, ...] = ()
    has_sweep: bool = True
    has_collection: bool = True
    has_weights: bool = True
