"""Figures of the articles in Distill as functions, for any network.

Each returns its data in a frozen dataclass, with `show()` for notebooks, `sheet()` for files and
`plot()` for papers. Several modules here are named like the function in them: the name in this
package is the function, and `from lucent.recipes.caricature import Caricature` finds the module.
"""

from lucent.recipes.activation_grid import ActivationGrid, activation_grid, activation_grids
from lucent.recipes.adversarial import AdversarialGrids, Attack, adversarial_grids, attack
from lucent.recipes.atlas import (
    AlignedAtlas,
    Atlas,
    AtlasSettings,
    activation_atlas,
    aligned_atlas,
    class_atlas,
    compare_classes,
)
from lucent.recipes.attribution_caricature import AttributionCaricature, attribution_caricature
from lucent.recipes.caricature import Caricature, caricature, feature_inversion
from lucent.recipes.channel_attribution import ChannelAttribution, channel_attribution
from lucent.recipes.channels import AnyChannels, any_number_of_channels
from lucent.recipes.cppn import CPPNDrawing, CPPNInterpolation, cppn_drawing, cppn_interpolation
from lucent.recipes.decomposed import Decomposed, decomposed_feature, decomposed_weights
from lucent.recipes.deepdream import Dream, Octaves, deepdream
from lucent.recipes.diversity import Diversity, diversity
from lucent.recipes.facets import Facets, facet, facets, probe
from lucent.recipes.feature_grid import FeatureGrid, feature_grid
from lucent.recipes.icons import Icons, render_icons
from lucent.recipes.interaction import (
    Directions,
    Interaction,
    neuron_interaction,
    random_directions,
)
from lucent.recipes.interpolation import Interpolation, interpolation
from lucent.recipes.mesh_style import mesh_style_transfer
from lucent.recipes.mesh_texture import mesh_texture
from lucent.recipes.mesh_views import MeshTexture, Scene
from lucent.recipes.negative import NegativeNeurons, negative_neurons
from lucent.recipes.neuron_groups import NeuronGroups, neuron_groups
from lucent.recipes.regularization import Regularization, Setting, regularization
from lucent.recipes.results import Panels, Result
from lucent.recipes.semantic_dictionary import SemanticDictionary, semantic_dictionary
from lucent.recipes.similarity import Similarity, cosine_similarity
from lucent.recipes.spatial_attribution import (
    LayerToLayer,
    SpatialAttribution,
    layer_to_layer,
    spatial_attribution,
)
from lucent.recipes.style import StyleLayers, StyleTransfer, style_transfer
from lucent.recipes.transparency import Transparency, transparency

__all__ = [
    "ActivationGrid",
    "AdversarialGrids",
    "AlignedAtlas",
    "AnyChannels",
    "Atlas",
    "AtlasSettings",
    "Attack",
    "AttributionCaricature",
    "CPPNDrawing",
    "CPPNInterpolation",
    "Caricature",
    "ChannelAttribution",
    "Decomposed",
    "Directions",
    "Diversity",
    "Dream",
    "Facets",
    "FeatureGrid",
    "Icons",
    "Interaction",
    "Interpolation",
    "LayerToLayer",
    "MeshTexture",
    "NegativeNeurons",
    "NeuronGroups",
    "Octaves",
    "Panels",
    "Regularization",
    "Result",
    "Scene",
    "SemanticDictionary",
    "Setting",
    "Similarity",
    "SpatialAttribution",
    "StyleLayers",
    "StyleTransfer",
    "Transparency",
    "activation_atlas",
    "activation_grid",
    "activation_grids",
    "adversarial_grids",
    "aligned_atlas",
    "any_number_of_channels",
    "attack",
    "attribution_caricature",
    "caricature",
    "channel_attribution",
    "class_atlas",
    "compare_classes",
    "cosine_similarity",
    "cppn_drawing",
    "cppn_interpolation",
    "decomposed_feature",
    "decomposed_weights",
    "deepdream",
    "diversity",
    "facet",
    "facets",
    "feature_grid",
    "feature_inversion",
    "interpolation",
    "layer_to_layer",
    "mesh_style_transfer",
    "mesh_texture",
    "negative_neurons",
    "neuron_groups",
    "neuron_interaction",
    "probe",
    "random_directions",
    "regularization",
    "render_icons",
    "semantic_dictionary",
    "spatial_attribution",
    "style_transfer",
    "transparency",
]
