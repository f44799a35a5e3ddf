"""docs/quantizer.md: its example, as a reader would paste and run it, and its tables of keys."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tests.docs.samples as pages

from quant_torch.quantization import (
    ModuleQuantizerConfig,
    OpQuantizerConfig,
    QuantizationSpec,
    QuantizerConfig,
)
from quant_torch.quantization.config import QATSchedule

TEXT = pages.QUANTIZER.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def section() -> str:
    found = re.search(r"## From float to a file\n(.*?)\n## ", TEXT, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture(scope="module")
def example(section: str) -> str:
    (found,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return found


def run(folder: Path, source: str) -> list[str]:
    (folder / "example.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def losses(lines: list[str]) -> dict[str, float]:
    return {line[:36].rstrip(): float(line[36:].removeprefix(" loss ")) for line in lines}


def test_the_example_runs_and_shows_what_it_says(
    section: str, example: str, tmp_path: Path
) -> None:
    (told,) = re.findall(r"```\n(float .*?)```", section, re.DOTALL)
    given, shown = losses(run(tmp_path, example)), losses(told.splitlines())
    assert list(given) == list(shown)
    exact, blocks, calibrated, channels, trained, finalized = given.values()
    assert exact < calibrated < trained < min(blocks, channels)
    assert finalized == trained
    # Codes of 4 bits, a float32 scale for 16 of them, and the biases in float32.
    codes, biases = 16 * 64 + 64 * 64 + 64, 64 + 64 + 1
    bits = (codes * 4 + codes // 16 * 32 + biases * 32) / (codes + biases)
    assert f"({bits:.1f} bits)" in list(given)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "extra"), [("to_coreai", "coreai_torch"), ("to_coreml", "coremltools")]
)
def test_the_export_in_one_call(call: str, extra: str, example: str, tmp_path: Path) -> None:
    pytest.importorskip(extra)
    suffix = "aimodel" if call == "to_coreai" else "mlpackage"
    assert f'quant_torch.export.{call}(quantizer, (x[:64],), "model.{suffix}")' in TEXT
    source, replaced = re.subn(
        r"finalized = quantizer\.finalize.*",
        f"import quant_torch.export\n"
        f'quant_torch.export.{call}(quantizer, (x[:64],), "model.{suffix}")\n',
        re.sub(r"epochs=\d+", "epochs=0", example),
        flags=re.DOTALL,
    )
    assert replaced == 1
    run(tmp_path, source)
    assert (tmp_path / f"model.{suffix}").exists()


@pytest.mark.parametrize(
    "config",
    [QuantizerConfig, ModuleQuantizerConfig, OpQuantizerConfig, QuantizationSpec, QATSchedule],
)
def test_the_table_of_keys_is_the_class(config: type) -> None:
    found = re.search(rf"### {config.__name__}\n(.*?)\n##", TEXT, re.DOTALL)
    assert found is not None
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| (.*?) \|", found.group(1)))
    fields = config.model_fields  # type: ignore[attr-defined]
    if config is ModuleQuantizerConfig:  # which has those of its operations, too
        fields = {k: v for k, v in fields.items() if k not in OpQuantizerConfig.model_fields}
    assert rows.keys() == fields.keys()
    for name, default in rows.items():
        value = config().model_dump(mode="json")[name]  # type: ignore[attr-defined]
        if default == "empty":
            assert value == {}
        elif default in ("None", "0", "`(None, None)`"):
            assert value == (None if default == "None" else 0 if default == "0" else [None, None])
        elif name == "granularity":
            assert f"`{value['type']}`" == default
        elif isinstance(value, str):
            assert default.strip('`"') == value
        else:
            assert isinstance(value, dict)


def test_the_example_of_frozen_scales_freezes_at_the_step_that_it_says() -> None:
    assert "disable_observer=4)" in TEXT
    assert "3 scales moved\n4 scales frozen\n" in TEXT
