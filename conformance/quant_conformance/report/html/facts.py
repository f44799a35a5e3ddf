"""What a report says of its own making: when, where, with what."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_PACKAGES = ("quant-conformance", "numpy", "ml_dtypes")
"""Packages whose versions count in every run."""


@dataclass(frozen=True)
class Facts:
    """How a report came about; a report depends on nothing else but what it reports.

    Attributes:
        command: the command line.
        date: when, as text.
        cpu: model of the processor.
        commit: commit of the working folder if that is a git checkout, else None.
        versions: package to version, beside those that the backends state.
    """

    command: str
    date: str
    cpu: str
    commit: str | None
    versions: Mapping[str, str] = field(default_factory=dict)


def gather_facts(command: Sequence[str], date: str) -> Facts:
    """Looks around.

    Args:
        command: the command as a list of words.
        date: when the report is made; ``now()`` gives it.
    """
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a source tree
            continue
    return Facts(shlex.join(command), date, cpu_model(), commit_of(Path.cwd()), installed)


def now() -> str:
    """Returns the present in UTC, or the time of SOURCE_DATE_EPOCH for a reproducible report."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def cpu_model() -> str:
    """Names the processor: its model on Linux, else what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [
        value.strip()
        for key, _, value in (line.partition(":") for line in lines)
        if key.strip() == "model name"
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} CPUs"


def commit_of(folder: Path) -> str | None:
    """Returns the commit that ``folder`` is checked out at, marked if files were changed since."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit} with changes" if _git(folder, "status", "--porcelain") else commit


def _git(folder: Path, *arguments: str) -> str:
    """Returns what a git command prints; nothing if git is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
