"""The house's own rules: who may import whom, and what a bare import costs."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vitrina
from support.heavy_modules import HEAVY

PACKAGE = Path(vitrina.__file__).parent

# A room may import what stands in a lower tier, and itself; never a sibling.
TIERS = [
    {"_version", "errors"},
    {"types", "limits", "cache", "optional", "options"},
    {
        "ids",
        "temporary_files",
        "parallel",
        "parquet",
        "jit",
        "device",
        "disk",
        "logs",
        "malloc",
        "page",
        "stage_timer",
        "threads",
        "typed_json",
        "whitening",
    },
    {"atomic_files", "database"},
    {"tables"},
    {"results"},
    {"store", "data", "sample", "training", "plots"},
    {"embedder", "index", "classifier", "audit"},
    {"baselines", "engines"},
    # Of pipelines, each folder and each file is a room.
    {"pipelines.common"},
    {"pipelines.embed", "pipelines.index", "pipelines.finetune", "pipelines.work"},
    {"pipelines.train"},
    {
        "pipelines.classify",
        "pipelines.audit",
        "pipelines.benchmark",
        "pipelines.export",
        "pipelines.info",
    },
    {"pipelines.demo"},
    {"api"},
    {"cli"},
]
PIPELINES = "pipelines"


def room_of(parts: Sequence[str]) -> str:
    """The room of a module, from the parts of its name below the package."""
    return ".".join(parts[: 2 if parts[0] == PIPELINES else 1])


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vitrina":
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("vitrina.")}
    return found


def rooms_imported(path: Path) -> set[str]:
    return {room_of(name.split(".")[1:]) for name in imports_of(path) if "." in name}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
NAMES = {name_of(path): path for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    if path == PACKAGE / PIPELINES / "__init__.py":
        assert imports_of(path) == set()
        return
    tier = {room: height for height, rooms in enumerate(TIERS) for room in rooms}
    room = room_of(name_of(path).split(".")[1:])
    for other in rooms_imported(path) - {room}:
        assert tier[other] < tier[room], f"{path} imports {other}"


def test_the_import_rule_can_fail(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("from vitrina.pipelines.embed.job import embed\nimport vitrina.cli\n")
    assert rooms_imported(path) == {"pipelines.embed", "cli"}


def test_no_public_class_name_stands_twice():
    places: dict[str, list[str]] = {}
    for name, path in NAMES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert {name: there for name, there in places.items() if len(there) > 1} == {}


def test_modules_form_no_circle():
    # Also those that are imported for types or within a function. The root imports the public
    # names when they are asked for.
    imports = {name: imports_of(path) - {name, "vitrina"} for name, path in NAMES.items()}
    order = list(TopologicalSorter(imports).static_order())
    assert set(NAMES) <= set(order)
    arrows = {
        (room_of(name.split(".")[1:]), room)
        for name, path in NAMES.items()
        for room in rooms_imported(path)
    }
    between = sum(one != other for one, other in arrows)
    print(f"{len({one for one, _ in arrows})} rooms, {between} arrows between them, no circle")


def test_a_circle_is_found():
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


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
    importlib.import_module("vitrina.audit.results")
    assert vitrina.audit is importlib.import_module("vitrina.api").audit


TESTS = Path(__file__).parent


def imported_test_modules(source: str) -> set[str]:
    """Test modules, and `conftest`, that a file of tests or helpers imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = {part for name in names for part in name.split(".")}
        found |= {part for part in parts if part == "conftest" or part.startswith("test_")}
    return found


def test_tests_share_helpers_by_support_alone():
    files = {
        str(path.relative_to(TESTS)): imported_test_modules(path.read_text(encoding="utf-8"))
        for path in sorted(TESTS.rglob("*.py"))
    }
    assert "support/stores.py" in files
    assert {name: imported for name, imported in files.items() if imported} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from test_store import put_space",
        "import test_store as other",
        "from tests.test_store import put_space",
        "from . import test_store",
        "def make():\n    from conftest import sample",
    ],
)
def test_the_rule_on_test_modules_can_fail(source):
    assert imported_test_modules(source) != set()


# Calls by which transformers, timm, open_clip and the hub's client load a model or a part of it.
LOADS = {"from_pretrained", "from_config"}
BENCHMARKS = PACKAGE.parent / "benchmarks"


def loads_that_may_run_code(source: str) -> list[int]:
    """Lines of loading calls that do not say `trust_remote_code=False`, and of whatever could hide
    one: such a function that is named without being called, other values, `torch.load` without
    `weights_only=True`."""
    tree = ast.parse(source)
    safe: set[int] = set()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            told = [one.value for one in node.keywords if one.arg == "trust_remote_code"]
            refused = (
                len(told) == 1 and isinstance(told[0], ast.Constant) and told[0].value is False
            )
            plain = [one.value for one in node.keywords if one.arg == "weights_only"]
            weights = (
                len(plain) == 1 and isinstance(plain[0], ast.Constant) and plain[0].value is True
            )
            if (name in LOADS and refused) or (name == "load" and weights):
                safe.add(id(node.func))
            elif told and not refused:
                found.append(node.lineno)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr in LOADS and id(node) not in safe:
                found.append(node.lineno)
            if (
                node.attr == "load"
                and id(node) not in safe
                and isinstance(node.value, ast.Name)
                and node.value.id == "torch"
            ):
                found.append(node.lineno)
        elif isinstance(node, ast.Constant) and node.value in LOADS:
            found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "transformers":
            found += [node.lineno for one in node.names if one.name == "pipeline"]
    return sorted(found)


@pytest.mark.parametrize(
    "path",
    [*MODULES, *sorted(BENCHMARKS.rglob("*.py"))],
    ids=lambda path: str(path.relative_to(PACKAGE.parent)),
)
def test_no_code_of_a_model_is_run(path):
    assert loads_that_may_run_code(path.read_text(encoding="utf-8")) == []


def test_models_are_loaded_somewhere():
    whole = (PACKAGE / "embedder/text_parts.py").read_text(encoding="utf-8")
    assert whole.count(".from_pretrained(") == 3
    assert loads_that_may_run_code(whole.replace("trust_remote_code=False", "revision=None")) != []


@pytest.mark.parametrize(
    "source",
    [
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(\n    folder,\n    local_files_only=True,\n)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "AutoModel.from_pretrained(folder, trust_remote_code=None)",
        "AutoModel.from_pretrained(folder, trust_remote_code=flag)",
        "AutoModel.from_pretrained(folder, **{'trust_remote_code': False})",
        "AutoModel.from_config(config)",
        "make = AutoModel.from_config",
        "partial(AutoModel.from_pretrained, trust_remote_code=False)",
        "getattr(AutoModel, 'from_pretrained')(folder)",
        "# trust_remote_code=False\nm.AutoTokenizer.from_pretrained(folder)",
        "f(AutoTokenizer.from_pretrained(folder), trust_remote_code=False)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "f(torch.load, weights_only=True)",
        "partial(torch.load, weights_only=True)",
        "from transformers import pipeline",
        "open_clip.get_tokenizer(name, trust_remote_code=True)",
    ],
)
def test_the_rule_on_code_of_models_can_fail(source):
    assert loads_that_may_run_code(source) != []


def test_the_rule_on_code_of_models_can_hold():
    call = "AutoModel.from_pretrained(\n    folder, dtype=kind, trust_remote_code=False\n)"
    assert loads_that_may_run_code(call) == []
