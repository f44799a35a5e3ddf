"""What an import drags in: asked of a fresh interpreter, because this one has everything loaded."""

import ast
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "quant_reference": ROOT / "reference/quant_reference",
    "quant_vectors": ROOT / "vectors/quant_vectors",
    "quant_torch": ROOT / "torch_impl/quant_torch",
    "quant_conformance": ROOT / "conformance/quant_conformance",
}
TEMPLATES = SOURCES["quant_conformance"] / "wire/templates/python"
"""Files that are copied out for a user, and no modules of the package."""
FRAMEWORKS = {
    "coreai",
    "coreai_opt",
    "coreai_torch",
    "coremltools",
    "gfloat",
    "onnx",
    "onnxruntime",
    "quant_torch",
    "torch",
    "torchao",
}
# The comparison with what was loaded before leaves out whatever the interpreter's own start-up
# (a .pth file, a coverage hook) brings along.
PROBE = """
import json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    __import__(name)
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(new - set(sys.stdlib_module_names))))
"""


def loaded_by(*modules: str) -> set[str]:
    """Top-level modules outside the standard library that importing ``modules`` loads."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def modules_of(package: str) -> Iterator[str]:
    """All modules of ``package`` by name, without importing any."""
    yield package
    for info in pkgutil.walk_packages([str(SOURCES[package])], package + "."):
        if not info.name.endswith("__main__"):
            yield info.name


def third_party_imports(package: str) -> dict[str, set[str]]:
    """Every module named in an import statement of ``package``, however deep -> the files."""
    return imports_of(
        [path for path in SOURCES[package].rglob("*.py") if TEMPLATES not in path.parents], package
    )


def imports_of(paths: list[Path], package: str) -> dict[str, set[str]]:
    """Modules outside the standard library that the import statements of files name."""
    found: dict[str, set[str]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top != package:
                    found.setdefault(top, set()).add(str(path.relative_to(ROOT)))
    return found


def graph_of(package: str) -> dict[str, set[str]]:
    """The modules of ``package`` that each one imports, also in functions and for types alone."""
    root = SOURCES[package].parent
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCES[package].rglob("*.py")
    }
    graph: dict[str, set[str]] = {name: set() for name in files}
    for module, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                named = [name if name in files else str(node.module) for name in inner]
            else:
                named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            graph[module].update(name for name in named if name in files and name != module)
    return graph


@pytest.mark.parametrize("package", ["quant_reference", "quant_vectors", "quant_torch"])
def test_no_module_leads_back_to_itself(package: str) -> None:
    graph = graph_of(package)
    assert any(graph.values())
    tuple(TopologicalSorter(graph).static_order())  # a CycleError names the modules


def test_the_reference_loads_numpy_and_ml_dtypes_only() -> None:
    assert loaded_by("quant_reference") == {"quant_reference", "numpy", "ml_dtypes"}


def test_the_vectors_load_the_base_dependencies_only() -> None:
    assert loaded_by("quant_vectors") <= {"quant_vectors", "numpy", "ml_dtypes", "safetensors"}


def test_the_probe_sees_a_third_party_module() -> None:
    assert "safetensors" in loaded_by("safetensors.numpy")


BEHIND_A_FRAMEWORK = (
    "quant_conformance.converters",
    "quant_conformance.export_matrix",
    "quant_conformance.gate",
    "quant_conformance.models",
    "quant_conformance.runtimes",
)
"""Written in a framework, and imported when somebody asks for what is in them."""


def test_no_module_of_the_suite_loads_a_framework() -> None:
    """Each backend imports its target when it is asked to judge, not when it is listed."""
    names = [
        name
        for name in modules_of("quant_conformance")
        if not name.endswith("pytest_plugin") and not name.startswith(BEHIND_A_FRAMEWORK)
    ]
    assert not loaded_by(*names) & FRAMEWORKS


def test_the_command_line_loads_no_framework() -> None:
    """``--help`` and a typing mistake answer at once, also in an install without torch."""
    modules = ("cli", "commands", "commands.app", "converters.command")
    assert not loaded_by(*(f"quant_conformance.{name}" for name in modules)) & FRAMEWORKS


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("quant_reference", {"numpy", "ml_dtypes"}),
        ("quant_vectors", {"numpy", "ml_dtypes", "safetensors"}),
    ],
)
def test_import_statements_keep_to_the_base(package: str, allowed: set[str]) -> None:
    found = third_party_imports(package)
    assert found.keys() <= allowed, {name: found[name] for name in found.keys() - allowed}


@pytest.mark.parametrize("package", SOURCES)
def test_every_imported_distribution_is_declared(package: str) -> None:
    """An import that works here only because something else installed it fails at a user's."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {normal(re.split(r"[^\w.-]", line)[0]) for group in groups for line in group}
    owners = packages_distributions()
    for name, files in third_party_imports(package).items():
        if name in SOURCES or (name in WITHOUT_DEPENDENCIES and all(map(of_architectures, files))):
            continue
        assert importlib.util.find_spec(name), f"{sorted(files)} import {name}: not installed"
        distributions = {normal(owner) for owner in owners.get(name, [name])}
        assert distributions & declared, f"{sorted(files)} import {name}: in no dependency list"


def test_templates_need_python_alone() -> None:
    paths = sorted(TEMPLATES.glob("*.py"))
    assert imports_of(paths, "").keys() <= {path.stem for path in paths}


WITHOUT_DEPENDENCIES = {
    re.split("==", line)[0]
    for line in (ROOT / "conformance/architectures.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}
"""Installed into a folder of their own by ``make architectures``, and in no extra."""


def of_architectures(file: object) -> bool:
    """Whether a file is of the models that those packages have."""
    return "models/architectures/" in str(file)


def normal(name: str) -> str:
    """The form in which two spellings of a distribution's name are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()
