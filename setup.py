"""Packaging of torch-lucent; the settings of the development tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """Read the version without importing the package: its dependencies may not be there yet."""
    text = (HERE / "lucent" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('lucent/__init__.py has no line __version__ = "..."')
    return found[1]


EXTRAS = {
    "reduce": ["scikit-learn"],
    "video": ["av"],
    "plot": ["matplotlib"],
    "captum": ["captum>=0.7"],
    # embreex casts rays fast, rtree where there is no wheel of it.
    "mesh": ["trimesh>=4.6", "embreex", "rtree"],
    # Networks of these libraries by name.
    "timm": ["timm>=1.0"],
    "clip": ["open_clip_torch>=3.0"],
    "hf": ["transformers>=4.56", "safetensors"],
    # Whole networks: collections, atlases, the microscope.
    "whole": ["pyarrow>=15", "umap-learn>=0.5.7", "scikit-learn", "jinja2>=3.1"],
    "data": ["datasets>=3.0", "webdataset>=0.2.100"],
    "ray": ["ray[data]>=2.40"],
}
NOTEBOOKS = [
    *(package for name in ("reduce", "plot", "mesh", "whole") for package in EXTRAS[name]),
    "ipykernel",
    "nbclient",
    "scikit-image",  # photographs
]
TEST = [
    *(package for packages in EXTRAS.values() for package in packages),
    *NOTEBOOKS,
    "mypy>=1.15",
    "pdoc",
    "playwright",  # drives a Chromium that is there already
    "pytest>=8.2",
    "pytest-xdist>=3.6",
    "ruff~=0.17.0",
    "setuptools>=77",
]

setup(
    name="torch-lucent",
    version=version(),
    description="Feature visualization for PyTorch: see what a vision network has learned",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    # The others are those of three.js and OpenSeadragon, which are in the package.
    license="Apache-2.0 AND MIT AND BSD-3-Clause",
    license_files=[
        "LICENSE",
        "lucent/misc/io/three/LICENSE",
        "lucent/report/static/openseadragon.LICENSE.txt",
    ],
    packages=find_packages(include=["lucent", "lucent.*"]),
    package_data={
        "lucent": ["py.typed"],
        "lucent.misc.io": ["three/*", "*.html"],
        "lucent.modelzoo": ["labels/*.txt"],
        "lucent.report": ["static/*", "templates/*"],
        "lucent.modelzoo.synthnet": ["*.pth"],
        "lucent.modelzoo.synthvit": ["*.pth"],
    },
    python_requires=">=3.10",
    install_requires=["torch>=2.6", "torchvision", "numpy", "pillow>=10.1", "tqdm", "ipython"],
    extras_require={
        **EXTRAS,
        "notebooks": NOTEBOOKS,
        "test": TEST,
        "dev": [*TEST, "pre-commit", "tox>=4.20"],
    },
    entry_points={"console_scripts": ["lucent = lucent.cli:main"]},
    keywords=["feature visualization", "interpretability", "deep learning", "pytorch"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Visualization",
        "Typing :: Typed",
    ],
)
