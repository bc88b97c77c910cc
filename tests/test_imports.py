"""Imports point up one list, files stay short, and everything public says what it does."""

import ast
import graphlib
from pathlib import Path

import pytest

import latent_reward

ROOT = Path(latent_reward.__file__).parent

# Each line may import from itself and from the lines above it.
ORDER = (
    ("errors", "types"),
    ("files", "rng"),
    ("networks",),
    ("envs",),
    ("task",),
    ("encoder",),
    ("sealing",),
    ("design",),
    ("credit",),
    ("agents",),
    ("training",),
    ("report",),
    ("config",),
    ("team_run",),
    ("run",),
    ("trainer",),
    ("__init__",),
    ("cli", "__main__"),
)
RANK = {room: rank for rank, line in enumerate(ORDER) for room in line}

# Training needs no designer: of all that comes after it, only the command line may call it, and the names of
# the package, which are imported when first used. Of sealing it only opens encoders.
MAY_DESIGN = {"design", "cli", "__main__", "__init__"}
DESIGN_NEVER_NEEDS = {"credit", "agents", "training", "config", "run", "team_run"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "source.py"  # the sealed text of an encoder, which nothing imports
}


def room_of(module):
    return module.split(".")[0]


def imports(path):
    """The modules of this package that a file imports, those inside functions among them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names = [f"{node.module}.{each.name}" for each in node.names]
        found |= {module_of(name.split(".")[1:]) for name in names if name.split(".")[0] == ROOT.name}
    return found


def module_of(parts):
    """The file in which a dotted name is found: a module, or the __init__ of a package."""
    for name in (".".join(parts), ".".join([*parts, "__init__"])):
        if name in MODULES:
            return name
    return module_of(parts[:-1])


IMPORTS = {module: imports(path) for module, path in MODULES.items()}


def test_the_walk_finds_the_package():
    assert {"types", "credit.losses", "training.replay", "sealing.verify"} <= set(MODULES)
    assert "types" in IMPORTS["credit.losses"]
    assert {"encoder.encoder", "encoder.bundled.__init__", "sealing.verify"} <= IMPORTS["sealing.open"]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_up_the_list(module):
    room = room_of(module)
    assert room in RANK, f"{room} has no place in ORDER: decide what it may import and add it"
    for imported in IMPORTS[module]:
        assert RANK[room_of(imported)] <= RANK[room], f"{module} imports {imported}, which comes after it"


# To go: the players of episodes import the container of episodes, and it imports them.
CIRCLES = {"design.host_episodes": {"design.episodes"}, "design.world_episodes": {"design.episodes"}}


def test_no_files_import_one_another():
    graph = {module: found - CIRCLES.get(module, set()) for module, found in IMPORTS.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_only_the_command_line_designs_and_designing_needs_no_training():
    for module, found in IMPORTS.items():
        rooms = {room_of(imported) for imported in found - {"sealing.open"}}
        if RANK[room_of(module)] > RANK["design"] and room_of(module) not in MAY_DESIGN:
            assert not rooms & {"design", "sealing"}, f"{module} imports {rooms & {'design', 'sealing'}}"
        if room_of(module) in ("design", "sealing"):
            assert not rooms & DESIGN_NEVER_NEEDS, f"{module} imports {rooms & DESIGN_NEVER_NEEDS}"


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
