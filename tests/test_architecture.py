"""The house as docs/architecture.md plans it: who may import whom, one loop, small parts."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

import lucent

HOME = Path(lucent.__file__).parent

# Each row may import the rows above it and itself; the members of a row never import each other.
LAYERS = [
    ["errors"],
    ["util", "generators"],
    ["layouts"],
    ["files", "folders", "labels", "layers", "overrides", "optvis._spectrum", "weights"],
    ["encoders", "units"],
    ["misc"],
    ["hooks"],
    ["optvis.objectives", "optvis.param", "optvis.transform", "modelzoo"],
    ["optvis.objectives_util", "clip", "attribution"],
    ["optvis.history", "optvis.settings"],
    ["optvis.forward", "optvis.capture"],
    ["optvis.loop"],
    ["optvis.presets"],
    ["optvis.defaults"],
    ["optvis.callbacks"],
    ["optvis._memory"],
    ["optvis.batch"],
    ["optvis.render"],
    ["collect"],
    ["recipes"],
    ["cluster"],
    ["sweep"],
    ["report"],
    ["cli"],
    ["__main__"],
]
# These import no part of lucent, so that `import lucent` stays cheap.
ROOTS = ["", "optvis"]

#: Third-party packages that every installation has and that import quickly enough.
REQUIRED = {"torch", "numpy", "PIL", "tqdm"}


@cache
def trees():
    """Every module of lucent by its name within the package, as a syntax tree."""
    files = sorted(HOME.rglob("*.py"))
    return {module_name(file): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def module_name(file):
    parts = file.relative_to(HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def member(module):
    """The entry of the table that a module belongs to."""
    known = [name for row in LAYERS for name in row]
    found = [name for name in known if module == name or module.startswith(name + ".")]
    return max(found, key=len, default=None)


def imported(node):
    """The dotted names that an import statement may bring in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def own_imports(tree):
    """The members of lucent that a module imports anywhere, in functions and for types too."""
    names = [name for node in ast.walk(tree) for name in imported(node)]
    inside = [name.removeprefix("lucent.") for name in names if name.startswith("lucent.")]
    return {member(name) for name in inside} - {None}


def at_import(node):
    """The nodes that run when a module is imported: no bodies of functions, nothing for types."""
    yield node
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    if for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        later = node.body
    else:
        later = [node.body] if isinstance(node, ast.Lambda) else []
    for child in ast.iter_child_nodes(node):
        if child not in later:
            yield from at_import(child)


def calls(tree):
    """The functions that are called, as written."""
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def functions():
    """(where, number of lines without the docstring) of every function."""
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node):
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                yield f"{module}:{node.name}", lines


def test_the_modules_are_found():
    assert {"", "hooks", "optvis.render", "modelzoo.synthnet.model"} <= trees().keys()


def test_every_module_has_its_place_in_the_table():
    assert [name for name in trees() if member(name) is None] == ROOTS


@pytest.mark.parametrize("name", ROOTS)
def test_the_roots_import_nothing(name):
    assert not [n for n in ast.walk(trees()[name]) if isinstance(n, ast.Import | ast.ImportFrom)]


def test_modules_import_only_what_lies_below_them():
    wrong = []
    for row, names in enumerate(LAYERS):
        below = {name for lower in LAYERS[:row] for name in lower}
        for module, tree in trees().items():
            if (own := member(module)) in names:
                wrong += [(module, other) for other in own_imports(tree) - below - {own}]
    assert wrong == []


def test_the_table_catches_what_it_is_for():
    source = (
        "def f():\n    from lucent.optvis import param\n    import lucent.optvis.transform.base"
    )
    assert own_imports(ast.parse(source)) == {"optvis.param", "optvis.transform"}


def test_optional_packages_are_imported_on_use():
    known = {"lucent", *REQUIRED, *sys.stdlib_module_names}
    wrong = [
        (module, name)
        for module, tree in trees().items()
        for node in at_import(tree)
        for name in imported(node)
        if name.partition(".")[0] not in known
    ]
    assert wrong == []


def callers(*names):
    """The modules that call a method or function of one of these names."""
    return {
        module
        for module, tree in trees().items()
        for call in calls(tree)
        if any(call.endswith("." + name) for name in names)
    }


def test_there_is_one_optimisation_loop():
    trained = {name for name in trees() if name.endswith(".train")}
    assert callers("backward", "step") - trained == {"optvis.loop"}
    # Attribution takes gradients, too, but follows none.
    taking = callers("autograd.grad") - trained
    assert {member(name) for name in taking} == {"optvis.loop", "attribution"}


def test_no_device_and_no_random_number_is_chosen_at_import():
    choices = ("torch.device", "torch.cuda", "torch.Generator", "torch.rand", "torch.manual_seed")
    wrong = [
        (module, ast.unparse(node.func))
        for module, tree in trees().items()
        for node in at_import(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith((*choices, "torch.set_", "np.random", "random."))
    ]
    assert wrong == []


def test_only_the_command_line_prints():
    printing = {member(name) for name, tree in trees().items() if "print" in calls(tree)}
    assert printing == {"cli"}


def test_files_are_short():
    lengths = {f: len(f.read_text(encoding="utf-8").splitlines()) for f in HOME.rglob("*.py")}
    assert {file.name: n for file, n in lengths.items() if n > 450} == {}


def test_functions_are_short():
    lengths = list(functions())
    assert [(name, n) for name, n in lengths if n > 60] == []
    assert sum(n <= 25 for _, n in lengths) >= 0.9 * len(lengths)
