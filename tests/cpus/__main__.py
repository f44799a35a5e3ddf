"""Repeats what a processor may change as other processors compute it.

``python -m tests.cpus`` runs every part under every setting; ``--sample`` a few tests under each,
as .ci/run does; names of settings or parts choose some.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.cpus.probe import described, probe, processor
from tests.cpus.settings import HOOK, PARTS, ROOT, SETTINGS, Setting


def environment_of(setting: Setting, features: str) -> dict[str, str]:
    """Variables of a process under a setting.

    Args:
        setting: the setting.
        features: what numpy chooses its kernels by on this processor.
    """
    chosen = {name: text.format(features=features) for name, text in setting.environment.items()}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **chosen}
    if not setting.onednn:
        path = [str(HOOK), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    return environment


def unmet(setting: Setting, said: Mapping[str, str]) -> str:
    """What the setting did not do, or nothing."""
    wrong = [name for name, kernels in setting.shown.items() if said[name] != kernels]
    return ", ".join(f"{n} is {said[n]!r} and not {setting.shown[n]!r}" for n in wrong)


def run(name: str, parts: Sequence[str], features: str) -> tuple[list[str], list[str]]:
    """Runs parts under a setting.

    Args:
        name: the setting.
        parts: names of what is run.
        features: what numpy chooses its kernels by on this processor.

    Returns:
        Lines to print, and lines about what failed.
    """
    setting = SETTINGS[name]
    if setting.needs and setting.needs not in features.split():
        return [f"== {name}: left out, this processor has no {setting.needs}"], []
    environment = environment_of(setting, features)
    said = probe(environment)
    lines, failed = [f"== {name}: {described(said)}"], []
    if lacking := unmet(setting, said):
        return lines, [f"{name}: {lacking}"]
    for part in parts:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, *PARTS[part]],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        tail = done.stdout.strip().splitlines()
        lines += [f"   {line}" for line in (tail if done.returncode else tail[-1:])]
        lines.append(f"-- {name}, {part}: {time.monotonic() - start:.0f} s")
        if done.returncode:
            failed.append(f"{name}, {part}: exit code {done.returncode}")
    return lines, failed


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.cpus", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="a few tests under each setting")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="only this one")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one")
    parser.add_argument("--jobs", type=int, default=2, help="settings at a time")
    given = parser.parse_args()
    here = probe({**os.environ, "OMP_NUM_THREADS": "1"})
    print(f"{processor()}\n== as it is: {described(here)}", flush=True)
    failed = []
    with ThreadPoolExecutor(given.jobs) as pool:
        futures = []
        for name in given.setting or SETTINGS:
            whole = [part for part in PARTS if part != "sample"]
            parts = given.part or (SETTINGS[name].sample if given.sample else whole)
            futures.append(pool.submit(run, name, parts, here["numpy"]))
        for future in as_completed(futures):
            lines, wrong = future.result()
            print("\n".join(lines), flush=True)
            failed += wrong
    print("\n".join(["", *failed]) if failed else "\nevery setting gave the same verdicts")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
