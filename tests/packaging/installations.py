"""Wheel and sdist in an empty environment of every Python, with the sources out of reach.

Run as ``python -m tests.packaging.installations`` (``make release-check``): builds both, makes an
environment for each Python that it finds, installs the sdist's wheel there and uses it from an
empty folder. It takes minutes and downloads packages, so it is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""From ``requires-python`` up to the newest Python at the time of the release."""

BACKEND = """
import numpy as np

from quant_conformance import Backend


class Mine(Backend):
    name = "mine"

    def dequantize(self, codes, qparams, spec):
        return np.zeros(codes.shape, np.float32)
"""

USES = {
    "vectors": "import quant_vectors; print(len(quant_vectors.load().cases), 'cases')",
    "reference": "import quant_reference as q, numpy as np\n"
    "print(q.encode(np.float32([465]), 'float8_e4m3fn'))",
}


class Outcome(NamedTuple):
    """What came of one use of one installation."""

    python: str
    package: str
    use: str
    code: int
    output: str


def interpreters(named: Sequence[str]) -> dict[str, str | None]:
    """The interpreter of each version: on the PATH, below pyenv, or None."""
    found: dict[str, str | None] = {}
    for version in named:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        found[version] = str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")
    return found


def build(out: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it rather than from the checkout."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def try_on(python: str, version: str, package: Path, work: Path) -> Iterator[Outcome]:
    """Install a package into an empty environment, and use it from an empty folder."""
    kind = "sdist" if package.suffix == ".gz" else "wheel"
    venv, empty = work / f"{version}-{kind}", work / f"{version}-{kind}-empty"
    empty.mkdir()
    (empty / "mine.py").write_text(BACKEND, encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(use: str, *command: str, expect: int = 0) -> Outcome:
        done = subprocess.run(
            command, cwd=empty, env=env, capture_output=True, text=True, check=False
        )
        output = (done.stdout + done.stderr).strip()
        return Outcome(version, kind, use, int(done.returncode != expect), output)

    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    inside, command = str(venv / "bin/python"), str(venv / "bin/quant-conformance")
    pip = [inside, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    yield run("install", *pip, str(package))
    for use, code in USES.items():
        yield run(use, inside, "-c", code)
    yield run("command without its extra", command, "list", expect=2)
    yield run("install [conformance]", *pip, f"{package}[conformance]", "pytest")
    yield run("list", command, "list", "backends")
    yield run("reference", command, "run", "--backend", "numpy-reference", "--json", "r.json")
    yield run("wrong backend", command, "run", "--backend", "mine.py:Mine", expect=1)
    yield run("vectors", command, "vectors", "generate", "--check")
    yield run("pytest plugin", inside, "-m", "pytest", "--quant-backend", "numpy-reference", "-q")
    where = "import quant_conformance as c; print(c.__file__)"
    yield run("imported from", inside, "-c", where)


def main() -> int:
    """Print what came of every use; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", metavar="X.Y", help="only this version")
    parser.add_argument("--keep", type=Path, help="folder for the two packages")
    parser.add_argument("--json", type=Path, help="write the outcomes there")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        out = arguments.keep or work / "dist"
        packages = build(out)
        untried = []
        for version, python in interpreters(arguments.python or VERSIONS).items():
            if python is None:
                untried.append(version)
                continue
            for package in packages:
                for outcome in try_on(python, version, package, work):
                    mark = "FAILED" if outcome.code else "ok"
                    last = outcome.output.splitlines()[-1:] or [""]
                    print(f"{version} {outcome.package:5} {outcome.use:26} {mark:6} {last[0][:70]}")
                    if outcome.code:
                        print(outcome.output[-2000:])
                    outcomes.append(outcome)
        print(f"untried, since there is none here: {', '.join(untried) or 'none'}")
    if arguments.json:
        rows = [outcome._asdict() for outcome in outcomes]
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return int(any(outcome.code for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
