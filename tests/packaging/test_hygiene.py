"""Nothing tracked names the machine it was written on; the version is the same everywhere."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Spelled with gaps, so that this file is clean too.
FORBIDDEN = {
    "a machine's path": re.compile(
        rb"(?<![\w.~<>*-])/(?:work|root|opt|srv|tmp|home|Users|var/tmp)" + rb"/[\w.-]"
    ),
    "a file address": re.compile(rb"\bfile:" + rb"//"),
    "a registry's host": re.compile(
        rb"(?:pypi\." + rb"org|pythonhosted\." + rb"org|download\.pytorch\." + rb"org"
        rb"|conda\." + rb"anaconda|registry\.npm" + rb"js|(?:extra-)?index-url[= ]+" + rb"http)"
    ),
}


def tracked() -> list[Path]:
    """The files git tracks, as far as they are on disk."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files are tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()]


def findings(text: bytes) -> dict[str, bytes]:
    """What ``text`` holds of the forbidden, with the first place."""
    hits = {what: pattern.search(text) for what, pattern in FORBIDDEN.items()}
    return {what: hit.group() for what, hit in hits.items() if hit}


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = {
        str(path.relative_to(ROOT)): hits
        for path in tracked()
        # Raw tensors are not text: their bytes may spell anything.
        if path.suffix != ".safetensors" and (hits := findings(path.read_bytes()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "home/someone/notes",
        "/" + "tmp/x.json",
        "https://" + "pypi." + "org/simple",
        "file:" + "///wheels",
    ],
)
def test_the_search_finds_what_it_looks_for(text: str) -> None:
    assert findings(text.encode())


@pytest.mark.parametrize(
    "text", ["tests/tmp/x", "a/root/b", "https://example.org/home/x", "#!/usr"]
)
def test_the_search_leaves_ordinary_text_alone(text: str) -> None:
    assert not findings(text.encode())


def test_the_version_is_one_and_has_its_notes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = (ROOT / "torch_impl/quant_torch/__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{project["version"]}"' in source
    notes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(project['version'])}\] - 20\d\d-\d\d-\d\d$", notes, re.M)
