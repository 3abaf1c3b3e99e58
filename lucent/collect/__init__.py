"""What a data set does to the layers of a network: collected once, in a folder, to be read often.

`collect` streams the images through the network and keeps, for each layer, the examples of every
unit, statistics, sampled activation vectors and what they do for the classes.
"""

from lucent.collect._merging import KINDS
from lucent.collect.collecting import collect, collect_by
from lucent.collect.collection import Collection, Example, Unreadable
from lucent.collect.plans import CollectPlan, plan_collection
from lucent.collect.settings import CollectSettings
from lucent.collect.shards import ShardWorker
from lucent.collect.sources import Item, Source, as_source
from lucent.collect.statistics import Histogram, Moments, Products

__all__ = [
    "KINDS",
    "CollectPlan",
    "CollectSettings",
    "Collection",
    "Example",
    "Histogram",
    "Item",
    "Moments",
    "Products",
    "ShardWorker",
    "Source",
    "Unreadable",
    "as_source",
    "collect",
    "collect_by",
    "plan_collection",
]
