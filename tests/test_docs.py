"""The pages in docs: every public name is on one, every example runs as it stands."""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import re
import sys
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from test_public_api import SIGNATURES, found

import lucent
from lucent.util import forked_rng

HOME = Path(lucent.__file__).parent
DOCS = Path(__file__).parents[1] / "docs"
API = sorted((DOCS / "api").glob("*.md"))
PAGES = [*API, DOCS / "moving_from_lucid.md"]

#: Programs: their options are in their --help.
PROGRAMS = {"lucent.cli", "lucent.__main__", "lucent.modelzoo.synthnet.train"}
#: What every module may define for itself.
NOT_API = {"logger"}


def module_name(file):
    parts = ("lucent", *file.relative_to(HOME).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(HOME.rglob("*.py"))
MODULES = [
    name
    for name in map(module_name, FILES)
    if not name.startswith(tuple(PROGRAMS))
    and not any(part.startswith("_") for part in name.split("."))
]
#: Packages that list what is public in them; their modules are how they are made.
LISTED = [
    "lucent.optvis.objectives",
    "lucent.optvis.param",
    "lucent.optvis.transform",
    "lucent.misc.io",
    "lucent.hooks",
    "lucent.layouts",
    "lucent.units",
    "lucent.attribution",
    "lucent.cluster",
    "lucent.collect",
    "lucent.recipes.atlas",
    "lucent.report",
    "lucent.sweep",
]
#: What the reference is tried on.
REFERENCE = ["lucent.collect", "lucent.recipes.atlas", "lucent.report", "lucent.sweep"]
WHOLE = [name for name in MODULES if not name.startswith(tuple(LISTED))]
#: How the guide calls modules.
SHORT = {
    name: f"lucent.optvis.{name}" for name in ("loop", "objectives", "param", "render", "transform")
}


@cache
def tree_of(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def defined_in(module):
    """The public functions and classes that a module itself defines."""
    return {
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    }


@cache
def words(page):
    """The words inside code on a page: between backticks and in blocks."""
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", text, re.MULTILINE | re.DOTALL)
    return {word for parts in code for part in parts for word in re.findall(r"\w+", part)}


def assert_documented(names):
    documented = set().union(*map(words, API))
    assert sorted(set(names) - documented - NOT_API) == []


@pytest.mark.parametrize("name", WHOLE)
def test_every_public_name_of_a_module_is_on_a_page(name):
    module = importlib.import_module(name)
    # lucent.modelzoo lists torchvision's names, too.
    listed = [] if name == "lucent.modelzoo" else getattr(module, "__all__", [])
    assert_documented({*listed, *defined_in(module)})


@pytest.mark.parametrize("name", LISTED)
def test_every_listed_name_of_a_package_is_on_a_page(name):
    assert_documented(importlib.import_module(name).__all__)


def test_every_name_of_torch_lucent_is_on_a_page():
    names = [path.rpartition(".")[2] for path in SIGNATURES]
    assert_documented(name for name in names if not name.startswith("_"))


def test_the_guide_names_things_that_exist():
    text = (DOCS / "moving_from_lucid.md").read_text(encoding="utf-8")
    roots = "|".join(["lucent", *SHORT])
    here = re.findall(rf"`((?:{roots})(?:\.\w+)+)", last_columns(text))
    assert len(here) > 50
    for path in here:
        first, _, rest = path.partition(".")
        found(f"{SHORT.get(first, first)}.{rest}")


def last_columns(text):
    """What the tables say about lucent, without the names of others in the first column."""
    rows = (line.split(" | ") for line in text.splitlines() if line.startswith("| "))
    return "\n".join(row[-1] for row in rows)


def test_the_index_lists_every_page():
    index = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([\w-]+\.md)\)", index)
    assert sorted(links) == [page.name for page in API if page.name != "index.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def blocks():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for block in found:
            line = text[: block.start()].count("\n") + 1
            yield pytest.param(block[1], id=f"{page.name}:{line}")


@pytest.mark.parametrize("code", [*blocks()])
def test_examples_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Without a screen, render_vis shows its pictures in temporary files.
    for screen in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(screen, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    # In this process, because most of the time would go into importing torch in another one.
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    with forked_rng(0):
        exec(compile(code, "<example>", "exec"), vars(module))


def test_every_python_block_is_marked_as_one():
    # An unmarked block would never run.
    for page in PAGES:
        opened = re.findall(r"^```(\w*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(opened[::2]) <= {"python", "bash", "text"}, page.name


def private_names(tree):
    """The private functions, classes and constants that a module or a class of it defines."""
    scopes = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for node in (node for scope in scopes for node in scope.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if re.match(r"_(?!_)", name))


def registered(tree):
    """The functions that a decorator `x.many` hands to a score."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            yield from (node.name for text in decorators if text.endswith(".many"))


def uses(tree):
    """The names that a module reads, imports, or takes from something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


#: Kept for scripts written for torch-lucent, which used them in spite of their names.
KEPT = {
    "_make_arg_str",
    "_extract_act_pos",
    "_T_handle_batch",
    "_torch_blur",
}


def test_every_private_helper_has_a_caller():
    defined, used = defaultdict(set), set()
    for file in FILES:
        tree = tree_of(file)
        used |= {*uses(tree), *registered(tree)}
        for name in private_names(tree):
            defined[name].add(module_name(file))
    unused = {name: modules for name, modules in defined.items() if name not in used | KEPT}
    assert unused == {}


def test_the_search_for_callers_finds_what_it_is_for():
    tree = ast.parse("def _f(): ...\n_g = 1\nclass A:\n    def _h(self): self._k = _g\n")
    assert [*private_names(tree)] == ["_f", "_g", "_h"]
    assert {*uses(tree)} == {"_g", "self"}


def test_the_reference_is_generated_from_the_docstrings(tmp_path):
    pdoc = importlib.import_module("pdoc")
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*REFERENCE, output_directory=tmp_path)
    for name in REFERENCE:
        page = (tmp_path / name.replace(".", "/")).with_suffix(".html").read_text(encoding="utf-8")
        text = " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())
        for public in importlib.import_module(name).__all__:
            thing = getattr(importlib.import_module(name), public)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                first = inspect.getdoc(thing).partition("\n")[0].split(" `")[0]
                assert first in text, f"{name}.{public}"
