"""Judges vendors' SDKs, each in an environment of its own: `make vendors ONLY=litert`.

A folder beside this file holds the pins of an SDK, its adapter, which answers questions on a pipe,
and for each kernel set the known failures. A name on the command line makes the environment;
without one, those that are there are judged, and for the others the command is said.
"""

import os
import shlex
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".vendors"
KERNELS = {"litert": ("reference", "optimized", "xnnpack")}
FAMILIES = ("requantize", "integer_layer", "quantize", "dequantize")


def install(name):
    """Makes the environment of an SDK, unless it is there with these pins."""
    pins, folder = HERE / name / "requirements.txt", ENVIRONMENTS / name
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == pins.read_text():
        return
    begin = time.monotonic()
    venv.create(folder, with_pip=True, clear=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "-q", "-r", pins]
    subprocess.run([*command, *shlex.split(os.environ.get("PIP_ARGS", ""))], check=True)
    stamp.write_text(pins.read_text())
    print("%s: installed in %.0f s" % (name, time.monotonic() - begin), flush=True)


def judge(name):
    """Runs every kernel set of an SDK; returns whether all did as expected."""
    folder = ENVIRONMENTS / name
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
    print("%s: %.0f MB in %s" % (name, size / 1e6, folder.relative_to(ROOT)), flush=True)
    right = True
    for kernels in KERNELS[name]:
        program = [str(folder / "bin" / "python"), str(HERE / name / "adapter.py"), kernels]
        command = [sys.executable, "-m", "quant_conformance.cli", "run"]
        command += ["--backend-pipe", shlex.join(program)]
        command += ["--expectations", str(HERE / name / ("known-%s.toml" % kernels))]
        for family in FAMILIES:
            command += ["--family", family]
        begin = time.monotonic()
        right &= subprocess.run(command, check=False).returncode == 0
        print("%s, %s: %.0f s\n" % (name, kernels, time.monotonic() - begin), flush=True)
    return right


def main(names):
    """Installs the named SDKs and judges them, or all that are installed."""
    unknown = sorted(set(names) - set(KERNELS))
    if unknown:
        sys.exit("no vendor %s; there are: %s" % (", ".join(unknown), ", ".join(KERNELS)))
    right = True
    for name in names or KERNELS:
        if names:
            install(name)
        if (ENVIRONMENTS / name / "installed.txt").exists():
            right &= judge(name)
        else:
            print("%s is not installed: make vendors ONLY=%s" % (name, name))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
