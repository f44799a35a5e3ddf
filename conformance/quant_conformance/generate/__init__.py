"""Builds the frozen vector set from the reference: the same bytes on every machine."""

from __future__ import annotations

import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import Final

from quant_conformance.errors import UsageError
from quant_conformance.generate.builder import Builder
from quant_conformance.generate.families import (
    batch_norm,
    blocks,
    blocks_together,
    decode,
    dequantize,
    elementwise_cover,
    encode,
    encode_others,
    encode_special,
    export_weights,
    fake_quantize,
    fake_quantize_search,
    gradient,
    gradient_range,
    half_subnormals,
    integer_layer,
    integer_moves,
    layer,
    lifecycle,
    model,
    observe,
    observe_data,
    odd_groups,
    pack,
    placement,
    qparams,
    qparams_e8m0,
    qparams_fixed,
    qparams_search,
    quantize_float,
    quantize_rounding,
    quantize_search,
    quantize_special,
    refused,
    refused_qparams,
    requantize,
    small_formats,
    specs,
    value_range,
)
from quant_conformance.generate.flags import FLAGS
from quant_conformance.generate.flags_block import BLOCK_FLAGS
from quant_conformance.generate.flags_integer import INTEGER_FLAGS
from quant_conformance.generate.readable import readable_path, readable_text
from quant_conformance.generate.streams import SEED
from quant_vectors import RELEASED, SetWriter, load

VERSION: Final = "v1"
GENERATOR: Final = "1"
INTEGER: Final = "integer_v1"
BLOCK: Final = "block_v1"

_FAMILIES = (
    encode,
    encode_others,
    encode_special,
    decode,
    pack,
    value_range,
    qparams,
    qparams_search,
    qparams_e8m0,
    qparams_fixed,
    elementwise_cover,
    quantize_rounding,
    quantize_search,
    quantize_special,
    quantize_float,
    dequantize,
    fake_quantize,
    fake_quantize_search,
    gradient,
    gradient_range,
    half_subnormals,
    observe,
    observe_data,
    specs,
    refused,
    placement,
    refused_qparams,
    export_weights,
    model,
    layer,
    odd_groups,
    batch_norm,
    lifecycle,
)


_INTEGER_FAMILIES = (requantize, integer_layer, integer_moves)
_BLOCK_FAMILIES = (small_formats, blocks, blocks_together)


def build(version: str = VERSION) -> SetWriter:
    """Build a set in memory.

    Args:
        version: ``"v1"``, ``"integer_v1"`` or ``"block_v1"``.
    """
    named, families = {
        VERSION: (FLAGS, _FAMILIES),
        INTEGER: (INTEGER_FLAGS, _INTEGER_FAMILIES),
        BLOCK: (BLOCK_FLAGS, _BLOCK_FAMILIES),
    }[version]
    flags = {name: flag._asdict() for name, flag in named.items()}
    writer = SetWriter(version, GENERATOR, SEED, flags)
    builder = Builder(writer)
    for family in families:
        family.build(builder)
    return writer


def generate(out: Path, check: bool, version: str = VERSION) -> int:
    """Write a set, or compare it with what is there.

    Args:
        out: Folder of the set; the text of its small cases is a file beside it.
        check: Write nothing; rebuild and compare byte for byte.
        version: Which set.

    Returns:
        0, or 1 if ``check`` found a difference, which is printed.

    Raises:
        UsageError: What is built is not the set of that name that has been released.
    """
    writer = build(version)
    with tempfile.TemporaryDirectory() as temporary:
        built = Path(temporary)
        writer.write(built)
        vectors = load(path=built)
        text = readable_text(vectors)
        if not check:
            _keep_what_is_released(version, vectors.digest)
            writer.write(out)
            readable_path(out).write_text(text, encoding="utf-8")
            return 0
        difference = first_difference(built, out) or readable_difference(text, readable_path(out))
    if difference is None:
        print(f"{out} is what the generator builds")
        return 0
    print(f"{out} differs from what the generator builds: {difference}")
    return 1


def _keep_what_is_released(version: str, digest: str) -> None:
    if digest != RELEASED.get(version, digest):
        raise UsageError(
            f"the set {version} has been released, with the digest {RELEASED[version]}, and what "
            f"the generator builds now has {digest}: nothing is written. New and corrected cases "
            "belong in a set of a further version; `--check` says what differs"
        )


def readable_difference(text: str, found: Path) -> str | None:
    """Say where the text of the small cases differs from a file, or None."""
    if not found.is_file():
        return f"{found.name} is missing"
    have = found.read_text(encoding="utf-8").splitlines()
    for number, (want, line) in enumerate(zip_longest(text.splitlines(), have), start=1):
        if want != line:
            shown = [_show((other or "").encode()) for other in (line, want)]
            return f"{found.name}, line {number}: {shown[0]} should be {shown[1]}"
    return None


def first_difference(built: Path, found: Path) -> str | None:
    """Say where two sets first differ, or None."""
    names = sorted({p.name for p in built.iterdir()} | {p.name for p in found.glob("*.*")})
    for name in names:
        if not (built / name).is_file():
            return f"{name} should not be there"
        if not (found / name).is_file():
            return f"{name} is missing"
        new, old = (built / name).read_bytes(), (found / name).read_bytes()
        if new == old:
            continue
        if not name.endswith(".json"):
            return f"{name} ({_first_byte(new, old)})"
        lines = zip(new.splitlines(), old.splitlines(), strict=False)
        for number, (want, have) in enumerate(lines, start=1):
            if want != have:
                return f"{name}, line {number}: {_show(have)} should be {_show(want)}"
        return f"{name}: {len(old)} bytes should be {len(new)}"
    return None


def _first_byte(new: bytes, old: bytes) -> str:
    for index, (a, b) in enumerate(zip(new, old, strict=False)):
        if a != b:
            return f"byte {index}: {b:#04x} should be {a:#04x}"
    return f"{len(old)} bytes should be {len(new)}"


def _show(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return text if len(text) <= 200 else text[:199] + "…"
