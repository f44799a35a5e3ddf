"""GRAN-1 to GRAN-7: which elements share qparams."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.support import numbers, to_array

from quant_reference import (
    MODULE_KINDS,
    Granularity,
    GranularityError,
    InputError,
    PerBlock,
    PerChannel,
    PerTensor,
    QParams,
    QuantizationSpec,
    SpecError,
    block_shape,
    default_axis,
    granularity_from_dict,
    oracle,
    quantize,
    scale_shape,
    value_range,
)

TARGETS = ("weight", "activation")


@pytest.mark.parametrize(
    ("shape", "granularity", "target", "extents"),
    [
        ((4, 6), PerTensor(), "weight", (4, 6)),  # GRAN-1
        ((), PerTensor(), "activation", ()),
        ((4, 6, 3, 5), PerChannel(0), "weight", (1, 6, 3, 5)),  # GRAN-2
        ((4, 6, 3, 5), PerChannel(-3), "activation", (4, 1, 3, 5)),
        ((4, 6, 3, 5), PerBlock(1, 2), "weight", (1, 2, 3, 5)),  # GRAN-3
        ((4, 6, 3, 5), PerBlock(0, 2), "weight", (2, 1, 3, 5)),
        ((4, 6, 3, 6), PerBlock(-1, 2), "weight", (1, 1, 3, 2)),
        ((4, 6), PerBlock(-1, 3), "weight", (1, 3)),
        ((8,), PerBlock(0, 2), "weight", (2,)),
        ((4, 6, 3, 5), PerBlock(1, 2), "activation", (1, 2, 1, 1)),  # GRAN-4
        ((4, 6, 3, 5), PerBlock(-1, 5), "activation", (1, 1, 1, 5)),
        ((4, 6, 3, 5), PerBlock(None, (2, -1, 1, 5)), "weight", (2, 6, 1, 5)),  # GRAN-5
        ((4, 6, 3, 5), PerBlock(None, (2, -1, 1, 5)), "activation", (2, 6, 1, 5)),
        ((4, 6), PerBlock(None, (4, 6)), "weight", (4, 6)),
    ],
)
def test_block_extents(
    shape: tuple[int, ...], granularity: Granularity, target: Any, extents: tuple[int, ...]
) -> None:
    assert block_shape(shape, granularity, target) == extents
    assert oracle.block_extents(shape, granularity, target) == extents
    blocks = tuple(whole // extent for whole, extent in zip(shape, extents, strict=True))
    assert scale_shape(shape, granularity, target) == blocks


@st.composite
def fitting(draw: st.DrawFn) -> tuple[tuple[int, ...], Granularity]:
    """A shape and a granularity that fits it."""
    extents = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    counts = draw(st.lists(st.integers(1, 3), min_size=len(extents), max_size=len(extents)))
    shape = tuple(extent * count for extent, count in zip(extents, counts, strict=True))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    whole = draw(st.integers(0, len(shape) - 1))
    mixed = tuple(-1 if i == whole else extent for i, extent in enumerate(extents))
    return shape, draw(
        st.sampled_from(
            [
                PerTensor(),
                PerChannel(axis),
                PerBlock(axis, extents[axis]),
                PerBlock(None, tuple(extents)),
                PerBlock(None, mixed),
            ]
        )
    )


@given(case=fitting(), target=st.sampled_from(TARGETS))
def test_blocks_hold_the_elements_the_oracle_counts_off(
    case: tuple[tuple[int, ...], Granularity], target: Any
) -> None:
    """Seen through value_range: with x = 1, 2, 3, … the range of a block names its elements."""
    shape, granularity = case
    extents = oracle.block_extents(shape, granularity, target)
    assert block_shape(shape, granularity, target) == extents
    size = int(np.prod(shape))
    x = np.arange(1, size + 1, dtype=np.float32).reshape(shape)
    spec = QuantizationSpec(granularity=granularity)
    hi = value_range(x, spec, target)[1]
    lo = value_range(-x, spec, target)[0]
    assert hi.shape == lo.shape == scale_shape(shape, granularity, target)
    members = oracle.block_members(shape, extents)
    greatest = [oracle.number(max(block) + 1) for block in members]
    np.testing.assert_array_equal(hi.ravel(), to_array(greatest))
    np.testing.assert_array_equal(lo.ravel(), to_array(-value for value in greatest))


@given(case=fitting(), target=st.sampled_from(TARGETS))
def test_quantize_takes_the_qparams_of_the_element_s_block(
    case: tuple[tuple[int, ...], Granularity], target: Any
) -> None:
    """Seen through quantize: zeros become the zero point, and every block has one of its own."""
    shape, granularity = case
    blocks = scale_shape(shape, granularity, target)
    names = np.arange(np.prod(blocks), dtype=np.int32).reshape(blocks)
    params = QParams(np.ones(blocks, np.float32), names)
    codes = quantize(np.zeros(shape, np.float32), QuantizationSpec("uint8"), params)
    extents = oracle.block_extents(shape, granularity, target)
    expected = np.empty(codes.size, int)
    for name, members in enumerate(oracle.block_members(shape, extents)):
        expected[members] = name
    np.testing.assert_array_equal(codes.ravel(), expected)


@pytest.mark.parametrize(
    ("shape", "granularity", "given", "allowed"),
    [
        ((4, 6), PerChannel(2), "2", "-2 to 1"),
        ((4, 6), PerChannel(-3), "-3", "-2 to 1"),
        ((4, 6), PerChannel(), "None", "-2 to 1"),
        ((4, 6), PerBlock(None, 2), "None", "-2 to 1"),
        ((4, 6), PerBlock(2, 2), "2", "-2 to 1"),
        ((4, 6), PerBlock(1, 4), "4", "a divisor of 6"),
        ((4, 6), PerBlock(1, 12), "12", "a divisor of 6"),
        ((4, 6), PerBlock(None, (3, 6)), "3", "a divisor of 4"),
        ((4, 6), PerBlock(None, (4,)), "(4,)", "2 extents"),
        ((4, 6), PerBlock(None, (4, 6, 1)), "(4, 6, 1)", "2 extents"),
        ((), PerChannel(0), "0", "no axis: the tensor has rank 0"),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_gran_6_what_does_not_fit_is_refused(
    shape: tuple[int, ...], granularity: Granularity, given: str, allowed: str, target: Any
) -> None:
    for refused in (
        lambda: block_shape(shape, granularity, target),
        lambda: scale_shape(shape, granularity, target),
        lambda: value_range(
            np.zeros(shape, np.float32), QuantizationSpec(granularity=granularity), target
        ),
    ):
        with pytest.raises(GranularityError, match="GRAN-6") as refusal:
            refused()
        assert (refusal.value.given, refusal.value.allowed) == (given, allowed)


KINDS = ("Conv1d", "Conv2d", "Conv3d", "Linear", "Embedding")
TRANSPOSED = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")


@pytest.mark.parametrize("kind", [*KINDS, *TRANSPOSED])
def test_gran_7_default_axes(kind: str) -> None:
    channel, block = (1, 0) if kind in TRANSPOSED else (0, 1)
    assert default_axis(kind, PerChannel()) == channel == oracle.default_axis(kind, PerChannel())
    assert default_axis(kind, PerBlock(block_size=8)) == block
    assert oracle.default_axis(kind, PerBlock(block_size=8)) == block
    assert set(MODULE_KINDS) == {*KINDS, *TRANSPOSED}


@pytest.mark.parametrize("kind", ["Conv4d", "LSTM", "linear", "", None])
def test_gran_7_other_modules_are_refused_by_name(kind: Any) -> None:
    with pytest.raises(GranularityError, match="GRAN-7") as refusal:
        default_axis(kind, PerChannel())
    assert str(kind) in refusal.value.given
    assert "ConvTranspose3d" in refusal.value.allowed


def test_gran_7_per_tensor_has_no_axis() -> None:
    with pytest.raises(GranularityError, match="GRAN-7"):
        default_axis("Linear", PerTensor())


@pytest.mark.parametrize("kind", ["Linear", "ConvTranspose2d"])
def test_gran_7_a_tuple_names_every_axis_itself(kind: str) -> None:
    with pytest.raises(GranularityError, match="GRAN-7"):
        default_axis(kind, PerBlock(None, (1, 2)))
    with pytest.raises(ArithmeticError, match="GRAN-7"):
        oracle.default_axis(kind, PerBlock(None, (1, 2)))


@pytest.mark.parametrize(
    ("build", "clause"),
    [
        (lambda: PerChannel("0"), "GRAN-2"),  # type: ignore[arg-type]
        (lambda: PerChannel(True), "GRAN-2"),
        (lambda: PerChannel(0.0), "GRAN-2"),  # type: ignore[arg-type]
        (lambda: PerBlock(0, 0), "GRAN-3"),
        (lambda: PerBlock(0, -1), "GRAN-3"),
        (lambda: PerBlock(0, True), "GRAN-3"),
        (lambda: PerBlock(0, 2.0), "GRAN-3"),  # type: ignore[arg-type]
        (lambda: PerBlock(0, None), "GRAN-3"),  # type: ignore[arg-type]
        (lambda: PerBlock(1, (1, 2)), "GRAN-5"),
        (lambda: PerBlock(None, ()), "GRAN-5"),
        (lambda: PerBlock(None, (0, 2)), "GRAN-5"),
        (lambda: PerBlock(None, (-2, 2)), "GRAN-5"),
        (lambda: PerBlock(None, (1.0, 2)), "GRAN-5"),  # type: ignore[arg-type]
    ],
)
def test_granularities_that_no_tensor_fits_are_refused(build: Any, clause: str) -> None:
    with pytest.raises(SpecError, match=clause):
        build()


@pytest.mark.parametrize(
    "granularity",
    [PerTensor(), PerChannel(), PerChannel(-1), PerBlock(1, 32), PerBlock(None, (1, -1, 4))],
)
def test_spec_7_a_granularity_and_its_plain_form(granularity: Granularity) -> None:
    plain = granularity.to_dict()
    assert granularity_from_dict(plain) == granularity
    assert QuantizationSpec(granularity=plain).granularity == granularity  # type: ignore[arg-type]


def test_spec_7_the_plain_forms_are_these() -> None:
    assert PerTensor().to_dict() == {"type": "per_tensor"}
    assert PerChannel(1).to_dict() == {"type": "per_channel", "axis": 1}
    assert PerBlock(0, 4).to_dict() == {"type": "per_block", "axis": 0, "block_size": 4}
    tuple_form = PerBlock(None, (2, -1)).to_dict()
    assert tuple_form == {"type": "per_block", "axis": None, "block_size": [2, -1]}


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"type": "per_row"},
        {"type": None},
        {"type": ["per_tensor"]},
        {"type": "per_tensor", "axis": 0},
        {"type": "per_channel", "axis": 0, "block_size": 2},
        {"type": "per_channel", "dim": 0},
        {"type": "per_block", "axis": 0},
        {"type": "per_block", "axis": 0, "block_size": 2, "extra": 1},
        {"axis": 0},
        "per_tensor",
        None,
        7,
    ],
)
def test_spec_7_other_plain_forms_are_refused(plain: Any) -> None:
    with pytest.raises(SpecError, match="SPEC-7"):
        granularity_from_dict(plain)


@pytest.mark.parametrize("target", ["weights", "", None, "input"])
def test_another_target_is_refused(target: Any) -> None:
    with pytest.raises(SpecError, match="weight or activation"):
        block_shape((2, 2), PerTensor(), target)


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [((4, 6), (4,)), ((4, 6), (3, 1)), ((4, 6), (1, 12)), ((4,), (1, 1)), ((), (1,)), ((4,), (0,))],
)
def test_q_8_qparams_that_do_not_tile_are_refused(
    shape: tuple[int, ...], blocks: tuple[int, ...]
) -> None:
    params = QParams(np.ones(blocks, np.float32), np.zeros(blocks, np.int32))
    with pytest.raises(InputError, match="Q-8") as refusal:
        quantize(np.zeros(shape, np.float32), QuantizationSpec(), params)
    assert str(blocks) in refusal.value.given


def test_numbers_come_in_c_order() -> None:
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert [float(value) for value in numbers(transposed)] == [0, 3, 1, 4, 2, 5]
