"""Importing lucent is cheap and changes nothing."""

from __future__ import annotations

from process import run_python

# Prints what importing every module of lucent changed in the process; nothing when all is well.
WHAT_CHANGED = """
import importlib, logging, os, pkgutil, random, signal, sys, threading, warnings
import IPython, numpy, PIL.Image, torch, torchvision, tqdm

def state():
    return {
        "random": random.getstate(),
        "numpy generator": [str(part) for part in numpy.random.get_state()],
        "torch generator": torch.get_rng_state().tolist(),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "cuDNN": [getattr(torch.backends.cudnn, name) for name in ("deterministic", "benchmark")],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tensors": dict(vars(torch.Tensor)),
        "modules": dict(vars(torch.nn.Module)),
        "warnings": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "logging": [(log.handlers[:], log.level, log.propagate)
                    for log in (logging.getLogger(), logging.getLogger("lucent"))],
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
        "path": sys.path[:],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "Ctrl-C": signal.getsignal(signal.SIGINT),
        "threads alive": threading.active_count(),
    }

before = state()
import lucent
names = [module.name for module in pkgutil.walk_packages(lucent.__path__, "lucent.")]
for name in names:
    importlib.import_module(name)
after = state()
for key in before:
    if before[key] != after[key]:
        print("changed:", key)
if not {"lucent.cli", "lucent.optvis.render", "lucent.modelzoo.synthnet"} <= set(names):
    print("did not find the modules:", names)
if os.listdir():
    print("wrote:", os.listdir())
"""

# Prints what importing every module of lucent brings in beyond the packages it cannot do without.
BROUGHT_IN = """
import importlib, pkgutil, sys
import torch
before = set(sys.modules)
import lucent
for module in pkgutil.walk_packages(lucent.__path__, "lucent."):
    importlib.import_module(module.name)
packages = {name.partition(".")[0] for name in set(sys.modules) - before}
# sympy and mpmath come with torch, which imports them late.
needed = {"lucent", "torch", "sympy", "mpmath", "numpy", "PIL", "tqdm"}
print(*sorted(packages - needed - set(sys.stdlib_module_names)))
"""


def test_no_import_has_a_side_effect(tmp_path):
    done = run_python("-c", WHAT_CHANGED, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Prints what takes long to import, if the modules that nearly every script imports bring it in.
HEAVY = """
import sys
import torch
before = set(sys.modules)
from lucent.modelzoo import inceptionv1
from lucent.optvis import objectives, param, render, transform
heavy = {"torch._dynamo", "torch._inductor", "torch.distributed", "torch.onnx", "torch.profiler",
         "sympy", "torchvision", "IPython", "ipywidgets", "matplotlib", "scipy", "pandas",
         "sklearn", "av", "asyncio", "multiprocessing.pool"}
print(*sorted(heavy & set(sys.modules) - before))
"""


def test_import_lucent_brings_in_nothing_at_all(tmp_path):
    code = "import sys; before = set(sys.modules); import lucent; print(set(sys.modules) - before)"
    done = run_python("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'lucent'}\n", "")


def test_rendering_brings_in_nothing_that_takes_long(tmp_path):
    done = run_python("-c", HEAVY, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_no_module_imports_an_optional_package(tmp_path):
    done = run_python("-c", BROUGHT_IN, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
