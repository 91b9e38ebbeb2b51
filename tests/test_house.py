"""The house's own rules: who may import whom, and what a bare import costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import vitrina

PACKAGE = Path(vitrina.__file__).parent

# A room may import what stands in a lower tier, and itself; never a sibling.
TIERS = [
    {"errors"},
    {"types", "limits"},
    {
        "ids",
        "leftovers",
        "parallel",
        "cache",
        "compiled",
        "device",
        "disk",
        "memory",
        "page",
        "stages",
        "threads",
        "typed_json",
    },
    {"store", "data", "training"},
    {"embedder", "index", "classifier", "audit"},
    {"pipelines"},
    {"api"},
    {"cli"},
]
HEAVY = {"torch", "faiss", "transformers", "pandas", "open_clip", "timm", "sklearn", "pyarrow"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Rooms that a module imports, wherever in it; the package root's version is no room."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vitrina"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("vitrina.")}
    return found - {"__version__"}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    tier = {room: height for height, rooms in enumerate(TIERS) for room in rooms}
    room = room_of(path)
    for other in imports_of(path) - {room}:
        assert tier[other] < tier[room], f"{path} imports {other}"


def test_the_import_rule_can_fail(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("from vitrina.pipelines.embed import embed\nimport vitrina.cli\n")
    assert imports_of(path) == {"pipelines", "cli"}


@pytest.mark.parametrize(
    "code",
    [
        "import vitrina",
        "import sys; sys.argv = ['vitrina', '--help']; import vitrina.cli as c\n"
        "try: c.main()\nexcept SystemExit: pass",
    ],
    ids=["import", "help"],
)
def test_nothing_heavy_loads(code):
    probe = f"{code}\nimport sys\nprint('LOADED', sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_public_names_are_all_there():
    assert sorted(vitrina.__all__) == vitrina.__all__
    for name in vitrina.__all__:
        assert getattr(vitrina, name).__doc__, name
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vitrina.no_such_name


def test_a_function_is_not_hidden_by_the_subpackage_of_its_name():
    importlib.import_module("vitrina.audit.finding")
    assert vitrina.audit is importlib.import_module("vitrina.api").audit
