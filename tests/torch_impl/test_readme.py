"""The README's example of the Quantizer, as a reader would paste and run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def section() -> str:
    found = re.search(r"## Quantizer\n(.*?)\n## ", README.read_text(), re.DOTALL)
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
def test_the_export_in_one_call(
    call: str, extra: str, section: str, example: str, tmp_path: Path
) -> None:
    pytest.importorskip(extra)
    suffix = "aimodel" if call == "to_coreai" else "mlpackage"
    assert call in section
    assert f'"model.{suffix}")' in section
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
