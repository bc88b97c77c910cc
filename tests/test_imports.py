"""Imports point up one list of rooms and never in a circle, files stay short, and everything public is explained."""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

import latent_reward

ROOT = Path(latent_reward.__file__).parent

# A room is a folder, or a file beside the folders. Each may import from itself and from the lines above it.
ORDER = (
    ("errors", "types"),
    ("files", "rng", "compilation", "device"),
    ("reading",),
    ("checkpoint",),
    ("data", "networks", "optimisers"),
    ("agents",),
    ("envs",),
    ("task",),
    ("encoder",),
    ("sealing",),
    ("credit",),
    ("design", "report", "library"),
    ("bench", "training", "adapters"),
    ("__init__",),
    ("cli",),
)
RANK = {room: rank for rank, line in enumerate(ORDER) for room in line}

# Whoever designs needs no training, and whoever trains no designer.
MAY_DESIGN = {"design", "cli"}
DESIGN_NEVER_NEEDS = {"agents", "credit", "report", "training"}


class Import(NamedTuple):
    """One imported file; ``only_types`` if the import is not made when the program runs."""

    module: str
    only_types: bool


def name_of(path):
    """``a.b`` of ``a/b.py``, ``a`` of ``a/__init__.py``, and ``__init__`` of the package's own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {
    name_of(path): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "source.py"  # the sealed text of an encoder, which nothing imports
}


def room_of(module):
    return module.split(".")[0]


def imports_of(path):
    """Every file of this package that a file imports, at its top, in a function or for its types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names = [f"{node.module}.{each.name}" for each in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == ROOT.name:
                yield Import(resolve(rest), node in for_types)


def resolve(name):
    """The file that ``name``, a module or something in one, is imported from."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or "__init__"


IMPORTS = {module: set(imports_of(path)) for module, path in MODULES.items()}
GRAPH = {
    module: {each.module for each in found if not each.only_types} - {module}
    for module, found in IMPORTS.items()
}


def circle_in(graph):
    """A path along the edges that ends where it began, or an empty list."""
    finished = set()

    def search(node, path):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return []
        for other in sorted(graph.get(node, ())):
            if found := search(other, [*path, node]):
                return found
        finished.add(node)
        return []

    return next((found for node in sorted(graph) if (found := search(node, []))), [])


def reached_from(module):
    """Everything that is imported, directly or by what is imported."""
    reached, waiting = set(), [module]
    while waiting:
        for other in GRAPH[waiting.pop()] - reached:
            reached.add(other)
            waiting.append(other)
    return reached


def test_the_walk_finds_the_package():
    assert {"types", "__init__", "credit", "credit.losses", "training.from_replay", "encoder.bundled"} <= set(
        MODULES
    )
    assert Import("types", False) in IMPORTS["credit.losses"]
    assert Import("training.train", True) in IMPORTS["__init__"]
    assert "training.train" not in GRAPH["__init__"]
    assert (
        "data.buffer" in GRAPH["training.from_replay"]
    )  # imported as a module: from latent_reward.data import buffer
    assert "types" in reached_from("training.train")


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "a"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_room_has_a_place_in_the_order():
    rooms = {room_of(module) for module in MODULES}
    assert rooms - RANK.keys() == set(), "decide what a new room may import and add it to ORDER"
    assert RANK.keys() - rooms == set(), "a room that is gone is still in ORDER"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_up_the_list(module):
    room = room_of(module)
    for other in sorted(GRAPH[module]):
        above = RANK[room_of(other)] < RANK[room]
        assert above or room_of(other) == room, f"{module} imports {other}, which is not above it"


def test_no_file_imports_itself_by_way_of_others():
    circle = circle_in(GRAPH)
    assert not circle, " → ".join(circle)


@pytest.mark.parametrize("module", MODULES)
def test_training_needs_no_designer_and_designing_no_training(module):
    rooms = {room_of(other) for other in reached_from(module)}
    if room_of(module) not in MAY_DESIGN:
        assert "design" not in rooms
    if room_of(module) in ("design", "sealing"):
        assert not rooms & DESIGN_NEVER_NEEDS


@pytest.mark.parametrize("module", MODULES)
def test_nothing_but_the_command_line_imports_the_command_line(module):
    if room_of(module) != "cli":
        assert "cli" not in {room_of(other) for other in reached_from(module)}


@pytest.mark.parametrize("module", MODULES)
def test_a_file_has_fewer_than_400_lines(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    scopes = [tree] + [
        node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    silent = [
        node.name
        for scope in scopes
        for node in scope.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent, f"{module}: {', '.join(silent)}"
    assert ast.get_docstring(tree) or not tree.body, f"{module} does not say what it is for"
