"""The starting point of a file of known failures, made from what a run failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import FAILURES, CaseResult, Verdict

_HEAD = """\
# Known failures of {backend}{versions}.
# Vectors {version}, sha256 {digest}.
# Every entry needs its reason: the file is refused while one is empty. What is to be fixed rather
# than known is deleted here, and then fails the run.
"""


@dataclass(frozen=True)
class _Key:
    """What the cases of an entry have in common."""

    verdict: Verdict
    reason: str
    link: str | None


def known_failures_text(run: Run, every: Iterable[str]) -> str:
    """Returns a file of known failures (TOML) that names every failure of a run.

    A folder of cases that failed altogether and alike is one entry; other cases have an entry
    each, so that nothing is expected to fail that did not. Failures that were expected already
    keep their reasons.

    Args:
        run: the run.
        every: the ids of all cases of the set, run or not.
    """
    failed = {result.id: key for result in run.results if (key := _key(result)) is not None}
    details = {result.id: result.detail for result in run.results}
    folders: dict[str, list[str]] = {}
    for name in every:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    head = _HEAD.format(
        backend=_plain(run.backend),
        versions=_plain(f" ({versions})" if versions else ""),
        version=_plain(run.vectors["version"]),
        digest=_plain(run.vectors["digest"]),
    )
    parts = [head]
    for folder, names in folders.items():
        keys = {failed.get(name) for name in names}
        only = next(iter(keys))
        deep = any(other.startswith(f"{folder}/") for other in folders)  # "*" matches "/", too
        if folder and not deep and len(keys) == 1 and len(names) > 1 and only is not None:
            about = f"{len(names)} cases; {names[0]}: {details[names[0]]}"
            parts.append(_entry(f"{_literal(folder)}/*", only, about))
        else:
            parts += [
                _entry(_literal(name), key, details[name])
                for name in names
                if (key := failed.get(name)) is not None
            ]
    parts += _beyond(run)
    return "\n".join(parts)


def _key(result: CaseResult) -> _Key | None:
    if result.was is not None:
        return _Key(result.was, result.reason or "", result.link)
    if result.verdict in FAILURES and result.verdict is not Verdict.UNANSWERED:
        return _Key(result.verdict, "", None)
    return None


def _entry(cases: str, key: _Key, about: str) -> str:
    lines = [f"# {_plain(about)}", "[[expect]]", f"cases = {_toml(cases)}"]
    if key.verdict is not Verdict.WRONG:
        lines.append(f"verdict = {_toml(key.verdict.value)}")
    lines.append(f"reason = {_toml(key.reason)}")
    if key.link is not None:
        lines.append(f"link = {_toml(key.link)}")
    return "\n".join([*lines, ""])


def _beyond(run: Run) -> Iterator[str]:
    """What no entry can name."""
    left = sum(result.verdict is Verdict.UNANSWERED for result in run.results)
    if left:
        yield f"# {left} cases are unanswered, which cannot be expected: see judge --partial.\n"
    for line in run.stale:
        yield f"# not taken over, since stale: {_plain(line)}\n"


def _literal(name: str) -> str:
    """A glob that matches this name alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _toml(text: str) -> str:
    # A basic string of TOML is one of JSON, save for DEL and halves of surrogate pairs.
    return json.dumps(_valid(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(text: str) -> str:
    """One line of a comment."""
    return re.sub(r"[\x00-\x1f\x7f]", "�", _valid(" ".join(text.split())))[:200]


def _valid(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "�", text)
