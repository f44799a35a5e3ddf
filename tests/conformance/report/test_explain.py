"""What ``explain`` shows: the line that raised, what was printed, what an element comes from."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tests.conformance.adapter_for_tests as adapter

import quant_conformance.report.sources as sources
from quant_conformance.cli import main
from quant_conformance.layers import layer_of
from quant_conformance.report.sources import from_blocks, from_operands
from quant_conformance.runner.captured import LONGEST, Captured
from quant_conformance.runner.tracebacks import place_of, trace_of
from quant_vectors import VectorSet, load

Capture = pytest.CaptureFixture[str]
FILE = Path(adapter.__file__)
CONVERT = inspect.getsourcelines(adapter.convert)[1] + 1


@functools.cache
def shipped() -> VectorSet:
    return load()


ISOLATE = pytest.mark.parametrize("isolate", ["--isolate", "--no-isolate"])


def explained(capsys: Capture, case: str, *more: str, backend: str = "Faulty") -> str:
    assert main(["explain", case, "--backend", f"{FILE}:{backend}", *more]) == 0
    return capsys.readouterr().out


@ISOLATE
def test_the_line_that_raised_is_shown(capsys: Capture, isolate: str) -> None:
    out = explained(capsys, "encode/float8_e4m3fn/every-value", isolate)
    assert f"(adapter_for_tests.py:{CONVERT} in convert)" in out.splitlines()[0]
    trace = out.partition("\ntraceback\n")[2]
    files = re.findall(r'File "(.*)", line (\d+), in (\w+)', trace)
    # From the adapter's first line on: nothing of the harness before it.
    assert [(file, name) for file, _, name in files] == [
        (str(FILE), "encode"),
        (str(FILE), "convert"),
    ]
    assert int(files[1][1]) == CONVERT
    assert "x.no_such_method()" in trace


def test_of_what_is_raised_in_a_library_the_line_that_calls_it_is_named(capsys: Capture) -> None:
    out = explained(capsys, "pack/int2/low_first/count1-pack", "--no-isolate")
    line = inspect.getsourcelines(adapter.Faulty.pack)[1] + 1
    assert f"(adapter_for_tests.py:{line} in pack)" in out.splitlines()[0]


def test_a_run_names_the_line_too(capsys: Capture) -> None:
    options = ["--case", "encode/float8_e4m3fn/every-value", "--no-isolate"]
    assert main(["run", "--backend", f"{FILE}:Faulty", *options]) == 1
    assert f"(adapter_for_tests.py:{CONVERT} in convert)" in capsys.readouterr().out


def test_what_is_installed_beside_the_adapter_is_not_its_own(tmp_path: Path) -> None:
    library = tmp_path / ".venv" / "lib" / "site-packages" / "library.py"
    library.parent.mkdir(parents=True)
    library.write_text("def work():\n    raise ValueError('inside')\n")
    own = tmp_path / "own_adapter.py"
    own.write_text("import library\nclass Own:\n    def call(self):\n        library.work()\n")
    sys.path[:0] = [str(tmp_path), str(library.parent)]
    try:
        from importlib import import_module

        made = import_module("own_adapter").Own
        with pytest.raises(ValueError, match="inside") as caught:
            made().call()
    finally:
        del sys.path[:2]
    assert str(place_of(caught.value, made)) == "own_adapter.py:4 in call"
    assert "library.py" in trace_of(caught.value)
    # Of what has no line of the adapter's, the innermost is named as its package has it.
    assert str(place_of(caught.value, dict)) == "library.py:2 in work"


def test_the_end_of_a_long_traceback_is_kept() -> None:
    with pytest.raises(ValueError, match="xx") as caught:
        raise ValueError("x" * 20000)
    assert len(trace_of(caught.value)) < 9000
    assert trace_of(caught.value).endswith("xx\n")


def test_what_a_process_prints_is_shown_by_whatever_way(capsys: Capture) -> None:
    out = explained(capsys, "decode/int2/every-code", "--isolate")
    printed = out.partition("\nprinted\n")[2].partition("\n\n")[0].splitlines()
    assert printed == ["  decoding (4,)", "  a line from below", "  a line from C, not flushed"]


def test_what_python_prints_is_shown_without_a_process(capfd: Capture) -> None:
    out = explained(capfd, "decode/int2/every-code", "--no-isolate")
    assert "\nprinted\n  decoding (4,)\n" in out


def test_what_was_printed_before_the_end_is_shown(capsys: Capture) -> None:
    out = explained(capsys, "decode/int2/every-code", backend="ExitsLoudly")
    assert "exited with code 3; it printed: about to give up" in out.splitlines()[0]
    assert "\nprinted\n  about to give up\n" in out


def test_a_run_prints_nothing_of_a_backend(capfd: Capture) -> None:
    options = ["--case", "decode/int2/every-code"]
    assert main(["run", "--backend", f"{FILE}:Faulty", *options]) == 0
    assert "decoding" not in "".join(capfd.readouterr())


def test_captured_text_has_an_end(capfd: Capture) -> None:
    captured = Captured()
    for number in range(40):
        captured.write(f"{number:02}" + "x" * 10_000)
    captured.close()
    assert len(captured.text) == LONGEST
    assert captured.text.endswith("39" + "x" * 10_000)
    assert Captured(forward=1).write("é\ud800\n") == 3
    assert capfd.readouterr().out == "é\\ud800\n"


def test_the_block_of_a_wrong_scale_is_shown(capsys: Capture) -> None:
    case = shipped().case("qparams/cover/int2-sym-zp-per_block-conv_transpose2d-bfloat16")
    out = explained(capsys, case.id, "--no-isolate")
    answer = out.partition("\noutput     scale")[2].partition("\noutput ")[0]
    x = shipped().inputs(case)["x"].astype(np.float64)  # blocks of 2 on axis 0, 1 on axis 1
    block = x[4:6, 3:4]
    assert f"x[4:6, 3:4, 0:2, 0:1]  4 elements, least {block.min():.9g}, greatest" in answer
    assert [f"x[{i}, 3, {k}, 0]" in answer for i in (4, 5) for k in (0, 1)] == [True] * 4
    assert "x[3, 3," not in answer


def test_blocks_and_their_qparams() -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    x[3, 5] = np.nan
    shown = list(from_blocks({"x": x, "other": x.reshape(-1)}, (2, 2), (1, 1)))
    assert shown[0] == "x[2:4, 3:6]  6 elements, least 15, greatest 22, 1 NaN"
    assert [line.split()[0] for line in shown[1:]] == ["x[2,", *["x[2,"] * 2, *["x[3,"] * 3]
    assert "  … and 16 more" in list(from_blocks({"x": x}, (1, 1), (0, 0)))
    scale = np.array([[1, 2], [3, 4]], np.float32)
    assert list(from_blocks({"x": x, "scale": scale}, (4, 6), (3, 2))) == [
        "scale[1, 0]  3.0 (0x1.8p+1, bits 0x40400000)"
    ]
    empty = np.zeros((0, 6), np.float32)
    assert list(from_blocks({"x": empty}, (0, 1), (0, 0))) == []
    nothing = next(from_blocks({"x": np.full((1, 2), np.nan)}, (1, 1), (0, 0)))
    assert nothing == "x[0:1, 0:2]  2 elements, 2 NaN"


def test_the_operands_of_a_wrong_element_of_a_layer_are_shown(capsys: Capture) -> None:
    # Element 5 of (1, 4, 5, 4) is [0, 0, 1, 1]: a window of 3 × 3 at [0, 0] in all 4 channels.
    out = explained(capsys, "layer/conv2d-relu", "--no-isolate")
    assert "    from w[0, 0:4, 0:3, 0:3]: 36 of 144 elements, the first are\n" in out
    assert "    from x[0, 0:4, 0:3, 0:3]: 36 of 80 elements, the first are\n" in out
    assert "    from b[0]: 1 of 4 elements\n" in out
    case = shipped().case("layer/conv2d-relu")
    layer = layer_of(case, shipped().inputs(case))
    weight = layer.operands["w"]
    code, scale = int(weight.codes[0, 0, 0, 1]), float(weight.qparams.scale[0, 0, 0, 0])  # type: ignore[union-attr]
    assert f"      w[0, 0, 0, 1]  code {code} = {np.float32(code * scale):.9g}\n" in out


READ = {
    # By hand: which elements of which operand the first element of the result is computed from.
    "layer/linear-sigmoid": {"x[0, 0:8]": "8 of 24", "w[0, 0:8]": "8 of 32", "b[0]": "1 of 4"},
    "layer/matmul-scaled": {"a[0, 0, 0:6]": "6 of 36", "b[0, 0:6, 0]": "6 of 48"},
    "layer/sub-float16": {"a[0, 0, 0]": "1 of 24", "b[0, 0, 0]": "1 of 24"},
    "layer/mean": {"x[0, 0, 0:5, 0:4]": "20 of 80"},
    "layer/softmax-masked": {"x[0, 0:5]": "5 of 15", "m[0, 0:5]": "5 of 15"},
    "layer/embedding": {"w[": "1 of 40"},
    "layer/sum-of-3072": {"x[0, 0:3072]": "", "w[0, 0:3072]": ""},
}


@pytest.mark.parametrize("name", READ)
def test_what_an_element_is_computed_from(name: str) -> None:
    vectors = shipped()
    case = vectors.case(name)
    shape = vectors.expected(case)["low"].shape
    lines = list(from_operands(case, vectors.inputs(case), (0,) * len(shape)))
    told = [line for line in lines if line.startswith("from ")]
    assert len(told) == len(READ[name])
    for what, count in READ[name].items():
        if count:
            assert any(line.startswith(f"from {what}") and count in line for line in told), told
        else:  # more than is worth finding: it says so
            assert any(" at least" in line for line in told)


def test_the_search_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    found, spent = sources._read(lambda flat: asked.append(1) is None, 1 << 20, 50)
    assert spent == len(asked) == 50
    assert sources._read(lambda flat: 7 in flat, 16, 50)[0] == [7]
    assert sources._read(lambda flat: False, 16, 50) == ([], 1)
    assert found == sorted(found)


def test_without_a_backend_the_case_is_shown_alone(capsys: Capture) -> None:
    assert main(["explain", "encode/float8_e5m2/subnormal-quarters"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("encode/float8_e5m2/subnormal-quarters\n")
    assert "expected   code 0x01 = 1.52588e-05 (0x1p-16)" in out
    assert "actual" not in out
    assert "ENC-2 Subnormals" in out


@pytest.mark.parametrize("family", ["placement", "layer", "invalid_spec", "lifecycle", "pack"])
def test_a_case_of_any_family_is_shown_alone(capsys: Capture, family: str) -> None:
    case = next(case for case in shipped() if case.family == family)
    assert main(["explain", case.id]) == 0
    out = capsys.readouterr().out
    assert "actual" not in out
    assert case.comment in out
