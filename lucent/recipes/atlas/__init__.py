"""Activation atlases: maps of what a layer sees, for all classes, one, or two, or two layers."""

from lucent.recipes.atlas.aligned import AlignedAtlas, aligned_atlas
from lucent.recipes.atlas.atlases import Atlas
from lucent.recipes.atlas.classes import class_atlas, compare_classes
from lucent.recipes.atlas.layout import LAYOUTS, whitening
from lucent.recipes.atlas.levels import Level
from lucent.recipes.atlas.samples import Samples
from lucent.recipes.atlas.settings import AtlasSettings
from lucent.recipes.atlas.simple import activation_atlas

__all__ = [
    "LAYOUTS",
    "AlignedAtlas",
    "Atlas",
    "AtlasSettings",
    "Level",
    "Samples",
    "activation_atlas",
    "aligned_atlas",
    "class_atlas",
    "compare_classes",
    "whitening",
]
