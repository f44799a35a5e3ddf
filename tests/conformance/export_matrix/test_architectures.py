"""The sweep of architectures: its table, its processes, its page, and one cell all the way."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from quant_conformance.errors import UsageError
from quant_conformance.export_matrix import architecture_sweep as sweeping
from quant_conformance.export_matrix.architecture_page import GREEN, TARGETS, page
from quant_conformance.models.architectures import ARCHITECTURES

PACKAGE = "quant_conformance.models.architectures"


def test_there_are_architectures_of_every_kind() -> None:
    assert len(ARCHITECTURES) >= 40
    kinds = {a.kind for a in ARCHITECTURES.values()}
    assert {"convolutional", "vision transformer", "text encoder", "text decoder"} <= kinds
    assert {"speech", "diffusion", "state space", "graph", "recommender", "detector"} <= kinds


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_row_names_a_function(name: str) -> None:
    module, _, function = ARCHITECTURES[name].make.partition(":")
    assert callable(getattr(import_module(f"{PACKAGE}.{module}"), function))


OWN = [name for name, a in ARCHITECTURES.items() if a.package == "torch"]


@pytest.mark.parametrize("name", OWN)
def test_weights_and_inputs_are_the_same_every_time(name: str) -> None:
    import torch

    from quant_conformance.models.architectures import build

    first, again = build(name), build(name)
    with torch.no_grad():
        outputs = [made.model(*made.batches[-1]) for made in (first, again)]
    assert torch.equal(*outputs)
    assert len(first.batches) == 4
    assert not all(torch.equal(*pair) for pair in zip(*first.batches[:2], strict=True))


@pytest.mark.model
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_a_cell_goes_all_the_way(mode: str) -> None:
    pytest.importorskip("coreai_torch")
    pytest.importorskip("coremltools")
    from quant_conformance.export_matrix.architecture_cell import run_cell

    result = run_cell("recommender", "w8a8", mode)
    assert "error" not in result
    assert {key: target["verdict"] for key, target in result["targets"].items()} == {
        key: target["verdict"] if target["verdict"] in GREEN else "green"
        for key, target in result["targets"].items()
    }
    assert set(result["targets"]) == set(TARGETS)
    assert result["quantizers"] > 10
    assert result["share"] > 0.95
    assert set(result["replayed"]) <= {"exact", "admissible"}
    assert sum(result["replayed"].values()) > 5


def test_an_architecture_that_is_not_installed_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from quant_conformance.export_matrix.architecture_cell import run_cell

    monkeypatch.setitem(sys.modules, "timm", None)
    result = run_cell("resnet10t", "w8a8", "graph")
    assert result["missing"].startswith("ModuleNotFoundError") or "import of timm" in str(result)
    assert "Not installed where the page was made: resnet10t." in page([result])


FAKE = """
import json, sys, time
name = sys.argv[1]
if name == "bert": sys.exit(3)
if name == "vit": time.sleep(60)
print("noise")
print(json.dumps({"name": name, "config": sys.argv[2], "mode": sys.argv[3], "targets": {}}))
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that answer at once, die or hang, in place of the real ones."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    run = sweeping.subprocess.run

    def start(command: list[str], **options: Any) -> Any:
        return run([command[0], str(script), *command[3:]], **options)

    monkeypatch.setattr(sweeping.subprocess, "run", start)


@pytest.mark.usefixtures("fake")
def test_a_cell_that_dies_or_hangs_is_a_result_and_the_rest_goes_on() -> None:
    keys = [(name, "w8a8", "graph") for name in ("bert", "vit", "llama")]
    kept: list[int] = []
    results: dict[str, Any] = {}
    sweeping.sweep(keys, results, lambda found: kept.append(len(found)), 3, limit=5)
    assert sorted(kept) == [1, 2, 3]
    assert results["bert | w8a8 | graph"]["error"].startswith("the process ended with 3")
    assert results["vit | w8a8 | graph"]["error"] == "no answer after 5 s"
    assert results["llama | w8a8 | graph"]["name"] == "llama"


@pytest.mark.usefixtures("fake")
def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    known = {"name": "llama", "config": "w8a8", "mode": "graph", "targets": {}, "seconds": 7.5}
    kept.write_text(json.dumps({"llama | w8a8 | graph": known}))
    out = tmp_path / "page.md"
    with pytest.raises(sweeping.typer.Exit) as stopped:
        sweeping.main(kept, out, ["llama"], 2, 20.0, again=False)
    assert stopped.value.exit_code == 0
    results = json.loads(kept.read_text())
    assert len(results) == 4
    assert results["llama | w8a8 | graph"]["seconds"] == 7.5
    assert results["llama | w8a8 | eager"]["commit"] == sweeping.commit()
    assert "| llama | w8a8, graph |" in out.read_text()
    with pytest.raises(sweeping.typer.Exit):
        sweeping.main(kept, out, ["llama"], 2, 20.0, again=True)
    assert "seconds" not in json.loads(kept.read_text())["llama | w8a8 | graph"]


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(UsageError, match=r"no architecture \['lama'\]; there are resnet10t, "):
        sweeping.keys_of(["lama"])


def cell(name: str, *verdicts: str, **more: Any) -> dict[str, Any]:
    targets = {t: {"verdict": v, **more} for t, v in zip(TARGETS, verdicts, strict=True)}
    return {"name": name, "config": "w8a8", "mode": "graph", "targets": targets}


def test_the_page_counts_what_is_green_and_leaves_out_what_no_float_model_can() -> None:
    refused = cell("bert", "refused", "refused", "exact", "exact")
    refused["targets"]["coreai-32"]["float"] = "ValueError: no such operation"
    broken = {"name": "gpt2", "config": "w8a8", "mode": "graph", "error": "KeyError: 'x'"}
    text = page([cell("vit", "exact", "admissible", "wrong", "unpaired"), refused, broken])
    # vit is green; bert left out of 32 bits and refused in 16; gpt2 fails everywhere.
    assert "| Core AI, 32 bit | 2 | 1 | 50 % | 0 | 0 | 1 |" in text
    assert "| Core AI, 16 bit | 3 | 1 | 33 % | 0 | 0 | 0 |" in text
    assert "| Core ML, 32 bit | 3 | 1 | 33 % | 1 | 0 | 0 |" in text
    assert "| Core ML, 16 bit | 3 | 1 | 33 % | 0 | 1 | 0 |" in text
    assert "| vit | w8a8, graph | exact | admissible | wrong | unpaired |" in text
    assert "| bert | w8a8, graph | – | refused | exact | exact |" in text
    assert f"3 of the {len(ARCHITECTURES)} architectures" in text
    assert "Not run for this page: resnet10t, " in text
    assert "failed: KeyError: 'x': gpt2 (w8a8, graph, coreai-32)" in text


def test_the_page_says_what_share_is_quantized_and_by_which_sources() -> None:
    some = {**cell("vit", *["exact"] * 4), "share": 0.99999, "commit": "abc1234"}
    other = {**cell("bert", *["exact"] * 4), "share": 1.0, "commit": "abc1235"}
    text = page([some, other])
    assert "Made at `abc1234`, `abc1235` with torch " in text
    assert "| exact |  | 99.9 % |" in text
    assert "| exact |  | 100.0 % |" in text
