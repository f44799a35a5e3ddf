"""The import contracts hold, and each of them breaks when it should."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "reference/quant_reference",
    "vectors/quant_vectors",
    "torch_impl/quant_torch",
    "conformance/quant_conformance",
)
LINTER = [
    sys.executable,
    "-c",
    "from importlinter.cli import lint_imports_command as c; c()",
    "--no-cache",
]


def lint(tree: Path) -> tuple[int, str]:
    """Exit code and report of the import linter on the packages under ``tree``."""
    roots = [str((tree / package).parent) for package in PACKAGES]
    done = subprocess.run(
        [*LINTER, "--config", str(tree / "pyproject.toml")],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The sources of the four packages in a place where a test may spoil them."""
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold() -> None:
    code, report = lint(ROOT)
    assert code == 0, report


# One line for every contract, in the order of pyproject.toml.
VIOLATIONS = [
    ("reference/quant_reference/spoiled.py", "import scipy"),
    ("vectors/quant_vectors/spoiled.py", "import quant_reference"),
    ("torch_impl/quant_torch/spoiled.py", "from quant_reference import encode"),
    ("torch_impl/quant_torch/spoiled.py", "import quant_vectors"),
    ("conformance/quant_conformance/operations.py", "import quant_conformance.report.results"),
    ("reference/quant_reference/spec.py", "import quant_reference.qparams"),
    ("conformance/quant_conformance/spoiled.py", "import torch"),
]


def test_each_contract_breaks_on_the_import_it_forbids(copied: Path) -> None:
    for path, line in VIOLATIONS:
        with (copied / path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    code, report = lint(copied)
    config = tomllib.loads((copied / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [contract["name"] for contract in config["tool"]["importlinter"]["contracts"]]
    assert code == 1, report
    assert len(contracts) == len(VIOLATIONS)
    assert [name for name in contracts if f"{name} BROKEN" not in report] == []


def test_a_backend_may_name_its_target_and_quant_torch_the_declarations(copied: Path) -> None:
    backends = copied / "conformance/quant_conformance/backends"
    backends.mkdir(exist_ok=True)
    (backends / "__init__.py").touch()
    (backends / "fine.py").write_text("def load():\n    import torch, quant_torch\n")
    declarations = "from quant_reference.formats import FORMATS\n"
    (copied / "torch_impl/quant_torch/fine.py").write_text(declarations)
    code, report = lint(copied)
    assert code == 0, report
