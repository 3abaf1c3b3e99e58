"""The layers and units of a site: their names, labels, icons and neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lucent.folders import slug
from lucent.report.pages import Fact, LayerPage, LayerRef, Sprite, UnitRef, UnitSummary
from lucent.report.sheets import ICON, sprites
from lucent.report.sources import Sources
from lucent.report.statistics import number


@dataclass(frozen=True)
class Layer:
    """A layer of the site.

    Attributes:
        page: what its page shows.
        places: of its units among them, by their numbers.
        cover: the sheet with the one icon that stands for it.
    """

    page: LayerPage
    places: dict[int, int]
    cover: Sprite

    @property
    def units(self) -> list[int]:
        """Numbers of its units."""
        return list(self.places)

    def ref(self, place: int) -> UnitRef:
        """Return what a link to a unit takes, by its place among the units."""
        unit = self.page.units[place]
        sprite = next(s for s in self.page.sprites if place < s.first + s.count)
        layer = LayerRef(self.page.name, self.page.slug)
        return UnitRef(layer, unit.unit, unit.label, sprite.cell(place))


def layers_of(sources: Sources) -> list[Layer]:
    """Return the layers of a site in their order."""
    found = [_layer(sources, name) for name in sources.layers]
    refs = [LayerRef(layer.page.name, layer.page.slug) for layer in found]
    before, after = [None, *refs[:-1]], [*refs[1:], None]
    return [
        replace(layer, page=replace(layer.page, previous=previous, next=following))
        for layer, previous, following in zip(found, before, after, strict=True)
    ]


def _layer(sources: Sources, name: str) -> Layer:
    units, (naming, labels) = sources.units(name), sources.labels(name)
    sheets = sprites(f"units/{slug(name)}/icons-", len(units))
    summaries = _summaries(sources, name, units, labels)
    scores = [s.score if s.score is not None else -float("inf") for s in summaries]
    # The first of the strongest stands for the layer.
    cover = Sprite(f"units/{slug(name)}/layer.webp", 2 * ICON, 1, 1, scores.index(max(scores)), 1)
    page = LayerPage(
        name=name,
        slug=slug(name),
        facts=_facts(sources, name, len(units)),
        icon=cover.cell(cover.first),
        sprites=sheets,
        units=summaries,
        naming=naming,
    )
    return Layer(page, {unit: place for place, unit in enumerate(units)}, cover)


def _summaries(
    sources: Sources, name: str, units: Sequence[int], labels: dict[int, str]
) -> tuple[UnitSummary, ...]:
    collection = sources.collected(name)
    sparsity = collection.moments(name).sparsity.tolist() if collection is not None else []
    return tuple(
        UnitSummary(
            unit,
            labels.get(unit, ""),
            sources.score(name, unit),
            sparsity[unit] if unit < len(sparsity) else None,
        )
        for unit in units
    )


def _facts(sources: Sources, name: str, n_units: int) -> tuple[Fact, ...]:
    n_channels, *sides = sources.shape(name)
    facts = [Fact("Units", f"{n_channels:,}")]
    if n_units < n_channels:
        facts.append(Fact("Shown", f"{n_units:,}"))
    facts.append(Fact("Positions", " x ".join(map(str, sides)) if sides else "one"))
    if (collection := sources.collected(name)) is not None:
        moments = collection.moments(name)
        facts += [
            Fact("Zero or below", f"{number(100 * float(moments.sparsity.mean()))} %"),
            Fact("Units never above zero", f"{int((moments.high <= 0).sum()):,}"),
        ]
    return tuple(facts)


def facts_of_site(sources: Sources, layers: Sequence[Layer]) -> tuple[Fact, ...]:
    """Return what the first page says of the network, the pictures and the data set."""
    facts = [
        Fact("Network", sources.name),
        Fact("Weights", sources.weights),
        Fact("Layers", f"{len(layers):,}"),
        Fact("Units", f"{sum(layer.page.n_units for layer in layers):,}"),
    ]
    if (collection := sources.collection) is not None:
        facts.append(Fact("Pictures of the data set", f"{collection.n_images:,}"))
        if collection.unreadable:
            facts.append(Fact("Unreadable pictures", f"{len(collection.unreadable):,}"))
    if (sweep := sources.sweep) is not None:
        facts.append(Fact("Rendered", ", ".join(sweep.kinds)))
        facts.append(Fact("Steps of each rendering", f"{sweep.settings.steps:,}"))
    return tuple(facts)
