"""Networks to look into: lucent's own, and all that is in `torchvision.models`, by the same names.

torchvision is imported with the first of its names that is asked for, not with this package.
"""

from __future__ import annotations

from typing import Any

from lucent.errors import suggestion

# Three packages here are named like the callable in them. Imported here, once, the name stays bound
# to the callable, while `from lucent.modelzoo.inceptionv1 import helper_layers` still finds the
# package.
from lucent.modelzoo.inceptionv1 import InceptionV1 as inceptionv1
from lucent.modelzoo.inceptionv1 import InceptionV1Places365 as inceptionv1_places365
from lucent.modelzoo.photographs import photograph
from lucent.modelzoo.registry import load, names
from lucent.modelzoo.spec import ModelSpec, read_labels, spec_of
from lucent.modelzoo.synthnet import synthnet
from lucent.modelzoo.synthvit import synthvit
from lucent.modelzoo.util import get_model_layers

_OWN = {
    "ModelSpec": ModelSpec,
    "get_model_layers": get_model_layers,
    "inceptionv1": inceptionv1,
    "inceptionv1_places365": inceptionv1_places365,
    "load": load,
    "names": names,
    "photograph": photograph,
    "read_labels": read_labels,
    "spec_of": spec_of,
    "synthnet": synthnet,
    "synthvit": synthvit,
}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        # A star import must not take words from scripts that are older than these functions.
        return [known for known in __dir__() if known not in ("load", "names", "photograph")]
    # Tools probe modules for underscore names; that is no reason to import torchvision.
    if not name.startswith("_"):
        import torchvision.models

        if hasattr(torchvision.models, name):
            return getattr(torchvision.models, name)
    hint = "" if name.startswith("_") else suggestion(name, __dir__())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}. {hint}".rstrip())


def __dir__() -> list[str]:
    import torchvision.models

    return sorted({*_OWN, *(name for name in vars(torchvision.models) if not name.startswith("_"))})
