"""The generator: the same bytes again, streams that no library decides, telling cases."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from importlib.resources import files
from itertools import combinations, product
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from quant_conformance.errors import UsageError
from quant_conformance.generate import (
    INTEGER,
    build,
    first_difference,
    generate,
    readable_difference,
)
from quant_conformance.generate.builder import Builder, canonical
from quant_conformance.generate.coverage import coverage, coverage_rows
from quant_conformance.generate.covering import cover_pairs, required_pairs
from quant_conformance.generate.flags import FLAGS
from quant_conformance.generate.floats import around, cast, f32, from_bits, midpoints, step
from quant_conformance.generate.layouts import (
    ALL_LAYOUTS,
    GRANULARITY_KINDS,
    layout_variants,
    make_spec,
    spec_kinds,
)
from quant_conformance.generate.readable import (
    SMALL,
    readable_line,
    readable_path,
    readable_text,
    size_of,
)
from quant_conformance.generate.rivals import DIVISIONS
from quant_conformance.generate.streams import integers, pick, reals, words
from quant_reference import QParams
from quant_vectors import SetWriter, VectorError, VectorSet, load

V1 = Path(str(files("quant_vectors") / "v1"))


@pytest.fixture(scope="module")
def vectors() -> VectorSet:
    return load()


def test_the_frozen_set_is_what_the_generator_builds(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(V1, check=True) == 0
    assert "is what the generator builds" in capsys.readouterr().out


def test_a_released_set_is_not_written_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A generator that builds another v1 than the released one writes nothing."""
    other = build(INTEGER)
    monkeypatch.setattr("quant_conformance.generate.build", lambda version: other)
    with pytest.raises(UsageError, match=r"v1 has been released.*nothing is written"):
        generate(tmp_path / "v1", check=False)
    assert not (tmp_path / "v1").exists()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(V1, tmp_path / "v1"))


def test_check_fails_on_a_difference_and_writes_nothing(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "flags.json").unlink()
    assert generate(copy, check=True) == 1
    assert "flags.json is missing" in capsys.readouterr().out
    assert not (copy / "flags.json").exists()


def _edited(file: Path) -> None:
    file.write_text(file.read_text().replace('"rule":"exact"', '"rule":"exakt"', 1))


def _last_byte(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("encode.cases.json", _edited, "encode.cases.json, line 2: "),
        ("decode.safetensors", _last_byte, "decode.safetensors (byte "),
        ("decode.safetensors", lambda f: f.write_bytes(f.read_bytes() + b"0"), "bytes should be"),
        ("pack.cases.json", lambda f: f.write_text(f.read_text() + "\n"), "bytes should be"),
        ("flags.json", Path.unlink, "flags.json is missing"),
        ("more.cases.json", lambda f: f.write_text("{}"), "more.cases.json should not be there"),
    ],
)
def test_the_first_difference_is_named(copy: Path, name: str, change: Any, says: str) -> None:
    assert first_difference(V1, copy) is None
    change(copy / name)
    assert says in str(first_difference(V1, copy))


def test_a_set_is_written_and_loads(tmp_path: Path) -> None:
    assert generate(tmp_path / "v1", check=False) == 0
    assert load(path=tmp_path / "v1").digest == load().digest
    assert (tmp_path / "v1.txt").read_bytes() == readable_path(V1).read_bytes()


def test_the_small_cases_have_a_line_each(vectors: VectorSet) -> None:
    text = readable_path(V1).read_text(encoding="utf-8")
    assert text == readable_text(vectors)
    assert len(text.encode()) < 1_000_000
    lines = {line.split(": ")[0]: line for line in text.splitlines() if line[0] != "#"}
    assert 2500 < len(lines) < len(vectors)
    assert set(lines) == {c.id for c in vectors if size_of(vectors, c) <= SMALL}
    assert lines["pack/int2/low_first/count1-pack"] == readable_line(
        vectors, vectors.case("pack/int2/low_first/count1-pack")
    )


def test_a_line_has_the_numbers_of_its_case(vectors: VectorSet) -> None:
    """Read back with nothing but the text, every float of every small case of a family."""
    number = re.compile(r"(?<= )-?(?:0x[0-9a-f.]+p[+-]\d+|\d+|inf|nan:[0-9a-f]+)(?= |,|$)")
    for case in vectors:
        if case.family != "dequantize" or size_of(vectors, case) > SMALL or not case.expected:
            continue
        answer = readable_line(vectors, case).split(" -> ")[1]
        (want,) = vectors.expected(case).values()
        found = number.findall(answer)
        assert len(found) == want.size
        for text, value in zip(found, want.ravel().tolist(), strict=True):
            exact = float("nan") if text.startswith("nan") else float.fromhex(text)
            assert np.array_equal(exact, value, equal_nan=True), case.id
            assert np.isnan(value) or np.signbit(exact) == np.signbit(value), case.id


@pytest.mark.parametrize("change", ["line", "missing", "more"])
def test_a_difference_of_the_text_is_named(tmp_path: Path, change: str) -> None:
    file = tmp_path / "v1.txt"
    text = "# head\na: encode -> 1\nb: encode -> 2\n"
    file.write_text(text.replace("-> 1", "-> 3") if change == "line" else text)
    if change == "missing":
        file.unlink()
        assert readable_difference(text, file) == "v1.txt is missing"
    elif change == "more":
        assert "line 4: " in str(readable_difference(text + "c: pack -> 1\n", file))
    else:
        found = readable_difference(text, file)
        assert found == "v1.txt, line 2: a: encode -> 3 should be a: encode -> 1"
    file.write_text(text)
    assert readable_difference(text, file) is None


def test_streams_are_what_they_were() -> None:
    """Known answers: a change of hash, of numpy or of byte order would show here."""
    assert words("a", 3).tolist() == [43778220, 1620252201, 2680624342]
    assert integers("a", (4,), -2, 3).tolist() == [-2, 1, 2, 3]
    assert reals("a", (2,)).view(np.uint32).tolist() == [1083965612, 1074992681]
    assert words("a", 3).tolist() != words("b", 3).tolist()


def test_streams_stay_in_their_bounds() -> None:
    drawn = integers("bounds", (1000,), -3, 4)
    assert set(drawn.tolist()) == set(range(-3, 5))
    sizes = np.abs(reals("bounds", (1000,), exponents=(-2, 1)))
    assert sizes.min() >= 0.25
    assert sizes.max() < 4
    assert sorted(pick("bounds", 10, 5).tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_steps_are_neighbours(dtype: str) -> None:
    values = cast(np.array([0.0, 1.0, -1.0, 1.5, 2.0, -2.0, 2.0**-14]), dtype)
    up, down = step(values, 1).astype(np.float64), step(values, -1).astype(np.float64)
    assert (up > values.astype(np.float64)).all()
    assert (down < values.astype(np.float64)).all()
    assert step(step(values[1:], 1), -1).tobytes() == values[1:].tobytes()
    last = 2.0 ** -{"float32": 23, "float16": 10, "bfloat16": 7}[dtype]
    assert up[[1, 3]].tolist() == [1 + last, 1.5 + last]
    assert down[[1, 3]].tolist() == [1 - last / 2, 1.5 - last]


def test_around_and_bits() -> None:
    assert around(f32(1.0)).tolist() == [[0.9999999403953552, 1.0, 1.0000001192092896]]
    assert from_bits(0x3C00, dtype="float16").tolist() == [1.0]
    assert from_bits(0x3F80, dtype="bfloat16").dtype == ml_dtypes.bfloat16


def test_midpoints_by_hand() -> None:
    assert midpoints("float4_e2m1fn").tolist() == [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
    assert midpoints("float8_e4m3fn")[:2].tolist() == [2.0**-10, 3 * 2.0**-10]
    assert midpoints("float8_e4m3fn")[-1] == 432
    assert midpoints("float8_e5m2")[-1] == 53248


def test_cast_keeps_infinities_and_nothing_else_beyond() -> None:
    x = cast(np.array([1e6, -1e6, np.inf, -np.inf, np.nan]), "float16")
    assert x.tolist()[:4] == [65504.0, -65504.0, np.inf, -np.inf]
    assert np.isnan(x[4])


@pytest.mark.parametrize("complete", [True, False])
def test_cover_pairs(complete: bool) -> None:
    rows = [{"a": a, "b": b} for a, b in product("123", "xy")]
    factors = {"c": list("pqrs"), "d": list("uvw")}
    covered = cover_pairs(rows, factors, complete=complete)
    assert [{k: r[k] for k in "ab"} for r in covered[: len(rows)]] == rows
    seen = {frozenset(pair) for row in covered for pair in combinations(row.items(), 2)}
    missing = [pair for pair in required_pairs(rows, factors) if pair not in seen]
    assert (missing == []) is complete
    assert len(required_pairs(rows, factors)) == 3 * 4 + 2 * 4 + 3 * 3 + 2 * 3 + 4 * 3
    assert len(covered) < len(rows) * 4 * 3


def test_the_broad_coverage_is_what_it_says() -> None:
    full = coverage_rows("full")
    wanted = set(product(spec_kinds(), GRANULARITY_KINDS, ("float32", "float16", "bfloat16")))
    assert {(r["spec"], r["granularity"], r["dtype"]) for r in full} == wanted
    pairs = {frozenset(pair) for row in full for pair in combinations(row.items(), 2)}
    rows = [{k: v for k, v in row.items() if k != "layout"} for row in full]
    layouts = {"layout": sorted({row["layout"] for row in full})}
    assert len(layouts["layout"]) == 6
    assert all(pair in pairs for pair in required_pairs(rows, layouts))
    assert {(r["spec"], r["granularity"]) for r in coverage_rows("once")} == set(
        product(spec_kinds(), GRANULARITY_KINDS)
    )


def test_coverage_walks_every_variant_of_every_layout() -> None:
    for family in ("quantize", "fake_quantize"):
        rows = list(coverage(family, "full"))
        seen = {json.dumps([row.layout.shape, row.spec.granularity.to_dict()]) for row in rows}
        wanted = {
            json.dumps([layout.shape, granularity.to_dict()])
            for name, granularity, _, _ in layout_variants()
            if (layout := ALL_LAYOUTS[name.split("-", 1)[0]]) in {r.layout for r in rows}
        }
        assert seen == wanted
        assert len({row.name for row in rows}) == len(rows)


def test_flags_are_sentences() -> None:
    for name, flag in FLAGS.items():
        assert name[0].isupper()
        assert flag.bug.endswith(".")
        assert flag.effect.endswith(".")


@pytest.mark.parametrize("rival", ["reciprocal", "float64", "float16-quotient", "bfloat16-scale"])
def test_searched_cases_tell_their_rival(rival: str) -> None:
    """Every element of a searched case, not only some, is wrong under the formula it names."""
    vectors = load()
    cases = [
        c for c in vectors if c.id.startswith("quantize/division/") and c.id.endswith(f"-{rival}")
    ]
    cases = [c for c in cases if c.spec is not None and not c.spec["dtype"].startswith("float")]
    assert len(cases) >= 3
    for case in cases:
        given, codes = vectors.inputs(case), vectors.expected(case)["codes"]
        spec = make_spec("int8-sym-zp").from_dict(dict(case.spec or {}))
        quotient = DIVISIONS[rival][0](given["x"].astype(np.float32), given["scale"])
        wrong = np.clip(np.rint(quotient) + given["zero_point"], spec.quant_min, spec.quant_max)
        assert (wrong != codes).all(), case.id


class Drafts:
    """A builder on an empty set."""

    def __init__(self) -> None:
        self.writer = SetWriter("v9", "1", "seed", {})
        self.builder = Builder(self.writer)

    def encode(self, name: str, x: Any, **more: Any) -> None:
        self.builder.add(
            f"encode/{name}",
            "encode",
            clauses=("ENC-1",),
            flags=(),
            comment="made for a test",
            arguments={"format": "float8_e4m3fn"},
            inputs={"x": np.asarray(x, np.float32)},
            **more,
        )


def test_the_builder_refuses_a_hidden_policy() -> None:
    with pytest.raises(VectorError, match=r"policy None; it touches \['nan_payload'\]"):
        Drafts().encode("a", [1.0, np.nan])


def test_the_builder_refuses_two_policies() -> None:
    with pytest.raises(VectorError, match=r"\['nan_payload', 'overflow'\]"):
        Drafts().encode("a", [1e6, np.nan], policy="overflow")


def test_the_builder_refuses_a_policy_that_is_not_touched() -> None:
    with pytest.raises(VectorError, match=r"it touches \[\]"):
        Drafts().encode("a", [1.0], policy="overflow")


def test_the_builder_refuses_a_question_asked_already() -> None:
    drafts = Drafts()
    drafts.encode("a", [1.0])
    with pytest.raises(VectorError, match="encode/b asks what encode/a asks"):
        drafts.encode("b", [1.0], full=True)


def test_the_builder_refuses_a_refusal_that_is_none() -> None:
    with pytest.raises(VectorError, match="the reference says 'accepted', not 'refused'"):
        Drafts().builder.add_result(
            "invalid_spec/a",
            "validate_spec",
            "refused",
            clauses=("SPEC-1",),
            flags=(),
            comment="made for a test",
            arguments={"mapping": {}},
        )


def test_a_policy_that_a_case_cannot_show_is_refused() -> None:
    """The zero point 0 of uint8 is integer_zero and quant_min; quant_max alone is left."""
    drafts = Drafts()
    spec = make_spec("uint8-asym-zp")
    params = QParams(np.ones(1, np.float32), np.zeros(1, np.int32), np.zeros(1, np.float32))
    drafts.builder.add(
        "quantize/a",
        "quantize",
        clauses=("Q-6",),
        flags=(),
        comment="made for a test",
        spec=spec,
        target="activation",
        inputs={"x": np.array([np.nan], np.float32)},
        qparams=params,
        policy="nan_to_integer",
    )
    case = json.loads(drafts.writer.files()["quantize.cases.json"])["cases"][0]
    assert set(case["alternatives"]) == {"quant_max"}


def test_canonical_answers_do_not_depend_on_the_machine() -> None:
    nans = from_bits(0x7FC00000, 0xFFC00000, 0x7F800001)
    plain: Mapping[str, Any] = canonical({"values": nans, "lo": f32(-0.0), "hi": f32(0.0)})
    assert plain["values"].view(np.uint32).tolist() == [0x7FC00000] * 3
    assert plain["lo"].view(np.uint32).tolist() == [0]
    assert canonical({"values": f32(-0.0)})["values"].view(np.uint32).tolist() == [0x80000000]
