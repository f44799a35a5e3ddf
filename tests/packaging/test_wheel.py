"""The built wheel is complete: it is used here with the sources out of reach."""

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "quant_reference": "reference",
    "quant_vectors": "vectors",
    "quant_torch": "torch_impl",
    "quant_conformance": "conformance",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(wheel)], check=True)
    return target


def run_installed(installed: Path, code: str) -> str:
    """Output of ``code`` where the wheel and its dependencies can be imported, the sources not.

    -S skips the .pth file through which the editable install adds the sources; the dependencies
    then come in by name.
    """
    paths = sysconfig.get_paths()
    path = os.pathsep.join(dict.fromkeys([str(installed), paths["purelib"], paths["platlib"]]))
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_imported_from_the_wheel(installed: Path, package: str) -> None:
    if package == "quant_torch":
        pytest.importorskip("torch")
    place = run_installed(installed, f"import {package}; print({package}.__file__)")
    assert Path(place).is_relative_to(installed)


def test_the_wheel_holds_the_tracked_files_and_nothing_else(wheel: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files belong in the wheel")
    sources = [f"{root}/{package}" for package, root in PACKAGES.items()]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *sources]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = {
        name.partition("/")[2] for name in listed.stdout.splitlines() if (ROOT / name).is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert shipped == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_shipped(installed: Path, package: str) -> None:
    assert (installed / package / "py.typed").is_file()


def test_the_spec_is_shipped(installed: Path) -> None:
    assert (installed / "quant_reference/SPEC.md").stat().st_size > 0


def test_the_vectors_load_from_the_wheel(installed: Path) -> None:
    """All of v1, its checksums verified, with what a plain install has."""
    code = (
        "import sys, quant_vectors; vectors = quant_vectors.load(version='v1')\n"
        "print(len(vectors.cases), vectors.digest)\n"
        "assert not {'torch', 'pydantic', 'quant_conformance'} & sys.modules.keys()"
    )
    count, digest = run_installed(installed, code).split()
    manifest = (ROOT / "vectors/quant_vectors/v1/manifest.json").read_bytes()
    assert int(count) == json.loads(manifest)["cases"] >= 3000
    assert digest == hashlib.sha256(manifest).hexdigest()


def test_the_command_starts_from_the_wheel(installed: Path) -> None:
    code = (
        "import sys; from importlib.metadata import entry_points\n"
        "(command,) = entry_points(group='console_scripts', name='quant-conformance')\n"
        "sys.argv = ['quant-conformance', '--help']; command.load()()"
    )
    assert "vectors" in run_installed(installed, code)


def test_a_plain_install_requires_only_the_base(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    required = metadata.get_all("Requires-Dist") or []
    base = {re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line}
    assert base == {"ml-dtypes", "numpy", "safetensors"}
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
