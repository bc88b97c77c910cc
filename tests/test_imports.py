"""Imports point up one list, files stay short, and everything public says what it does."""

import ast
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

# A module whose import inside a function reaches below it: (module, room). An encoder whose program this
# version of JAX cannot read is sealed again.
DEFERRED = {("encoder.encoder", "sealing")}

# Training needs no designer: of all that comes after it, only the command line may call it, and the names of
# the package, which are imported when first used.
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
    """(room, is it inside a function) for each import of this package in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        child
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(function)
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
                room = room_of(rest)
                yield (room if room in RANK else "__init__"), node in inside


def test_the_walk_finds_the_package():
    assert {"types", "credit.losses", "training.replay", "sealing.verify"} <= set(MODULES)
    assert ("types", False) in set(imports(MODULES["credit.losses"]))
    assert ("sealing", True) in set(imports(MODULES["encoder.encoder"]))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_up_the_list(module):
    room = room_of(module)
    assert room in RANK, f"{room} has no place in ORDER: decide what it may import and add it"
    for imported, deferred in imports(MODULES[module]):
        if deferred and (module, imported) in DEFERRED:
            continue
        assert RANK[imported] <= RANK[room], f"{module} imports {imported}, which comes after it"


def test_only_the_command_line_designs_and_designing_needs_no_training():
    for module, path in MODULES.items():
        found = {imported for imported, _ in imports(path)}
        if RANK[room_of(module)] > RANK["design"] and room_of(module) not in MAY_DESIGN:
            assert not found & {"design", "sealing"}, f"{module} imports {found & {'design', 'sealing'}}"
        if room_of(module) in ("design", "sealing"):
            assert not found & DESIGN_NEVER_NEEDS, f"{module} imports {found & DESIGN_NEVER_NEEDS}"


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
