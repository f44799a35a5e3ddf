"""Scripts written for another package, run with this one in its place."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import quant_torch
from quant_torch import drop_in
from quant_torch.drop_in import REPLACED, run, stand_in

SCRIPTS = Path(__file__).parent / "seed"
ROOT = Path(__file__).parents[3]

EVERY_IMPORT = """
import coreai_opt
import coreai_opt as opt
import coreai_opt.quantization.config
from coreai_opt import CoreMLExportError, ExportBackend
from coreai_opt.casting import cast_fp32_to_fp16, cast_int32_to_int16, cast_to_16_bit_precision
from coreai_opt.quantization import (
    ExecutionMode, ModuleQuantizerConfig, QuantizationSpec, Quantizer, QuantizerConfig
)
from coreai_opt.quantization.config import OpQuantizerConfig, QATSchedule
from coreai_opt.quantization.spec import (
    DynamicQParamsCalculator, GlobalMinMaxQParamsCalculator, MinMaxRangeCalculator,
    MovingAverageQParamsCalculator, PerBlockGranularity, PerChannelGranularity,
    PerTensorGranularity, QParamsCalculatorBase, QuantizationFormulation, QuantizationScheme,
    RangeCalculatorBase, RunningRangeMixin, StaticQParamsCalculator,
    default_activation_quantization_spec, default_weight_quantization_spec,
)

quantization = opt.quantization
homes = {thing.__module__ for thing in (
    ExportBackend, Quantizer, QuantizerConfig, QATSchedule, cast_to_16_bit_precision
)}
"""


def written(folder: Path, source: str) -> Path:
    path = folder / "script.py"
    path.write_text(source)
    return path


def aliases() -> list[str]:
    """Sorted, since what a monkeypatch puts back stands in another order."""
    return sorted(name for name in sys.modules if name.partition(".")[0] == REPLACED)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    before = (list(sys.path), list(sys.argv), list(sys.meta_path), aliases())
    yield
    assert (sys.path, sys.argv, sys.meta_path, aliases()) == before


def test_every_import_means_ours(tmp_path: Path) -> None:
    names = run(written(tmp_path, EVERY_IMPORT))
    assert all(home.startswith("quant_torch.") for home in names["homes"])
    assert names["opt"] is names["coreai_opt"] is quant_torch
    assert names["quantization"] is importlib.import_module("quant_torch.quantization")
    spec = importlib.import_module("quant_torch.quantization.spec")
    assert names["PerBlockGranularity"] is spec.PerBlockGranularity


def test_modules_keep_their_own_identity(tmp_path: Path) -> None:
    run(written(tmp_path, EVERY_IMPORT))
    for name in ("quant_torch", "quant_torch.quantization", "quant_torch.quantization.spec"):
        module = sys.modules[name]
        assert module.__name__ == module.__spec__.name == name


def test_the_script_sees_what_python_would_show_it(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_the_script.py").write_text("answer = 42\n")
    path = written(
        tmp_path,
        "import sys\nimport neighbour_of_the_script\n"
        "argv, first = list(sys.argv), sys.path[0]\n"
        "name, file, answer = __name__, __file__, neighbour_of_the_script.answer\n",
    )
    names = run(path, ["--epochs", "3"])
    sys.modules.pop("neighbour_of_the_script")
    assert names["argv"] == [str(path), "--epochs", "3"]
    assert names["first"] == str(tmp_path)
    assert (names["name"], names["file"], names["answer"]) == ("__main__", str(path), 42)


def test_an_error_in_the_script_leaves_nothing_behind(tmp_path: Path) -> None:
    path = written(tmp_path, "import coreai_opt.quantization\nraise KeyError('mine')\n")
    with pytest.raises(KeyError, match="mine"):
        run(path)


def test_what_we_lack_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "from coreai_opt.palettization import KMeansPalettizer\n")
    with pytest.raises(ModuleNotFoundError, match=r"stands in for coreai_opt.*palettization"):
        run(path)
    path = written(tmp_path, "from coreai_opt.quantization.config import KVCacheQuantConfig\n")
    with pytest.raises(ImportError, match=r"KVCacheQuantConfig.*quant_torch"):
        run(path)


def test_the_name_means_again_what_it_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = type(sys)(REPLACED)
    monkeypatch.setitem(sys.modules, REPLACED, real)
    with stand_in():
        assert importlib.import_module(REPLACED) is quant_torch
    assert importlib.import_module(REPLACED) is real


def test_a_package_that_is_not_there_stays_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in():
        importlib.import_module("coreai_opt.quantization")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-packages" not in p])
    # Another test of this process may have loaded the real package.
    for name in [n for n in sys.modules if n.partition(".")[0] == "coreai_opt"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match="No module named 'coreai_opt'"):
        importlib.import_module("coreai_opt.quantization")


def test_no_such_script(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no script at .*missing\.py"):
        run(tmp_path / "missing.py")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no script given"),
        (["--quick"], "unknown option '--quick'"),
        (["missing.py"], "no script at 'missing.py'"),
    ],
)
def test_misuse(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        drop_in.main(arguments)
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert "usage: python -m quant_torch.drop_in SCRIPT [ARGS]" in told


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    drop_in.main(["--help"])
    assert "usage: python -m quant_torch.drop_in SCRIPT [ARGS]" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["weight_only.py", "calibration.py", "qat.py"])
def test_the_documented_scripts_unchanged(script: str) -> None:
    names = run(SCRIPTS / script, ["cnn", "eager"])
    assert type(names["quantizer"]).__module__ == "quant_torch.quantization.quantizer"
    assert torch.equal(names["prepared_output"], names["finalized_output"])


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quant_torch.drop_in", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_a_command(tmp_path: Path) -> None:
    written(
        tmp_path,
        "import sys\nfrom coreai_opt.quantization import Quantizer\n"
        "print(Quantizer.__module__, sys.argv)\nraise SystemExit(3)\n",
    )
    done = command(tmp_path, "script.py", "a", "-b")
    assert done.stdout == "quant_torch.quantization.quantizer ['script.py', 'a', '-b']\n"
    assert done.returncode == 3, done.stderr


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_the_scripts_are_the_peers(name: str) -> None:
    """The scripts run on the package they are written for, and give the same weights there."""
    source = (
        "import logging, runpy, sys, warnings\n"
        "import torch\n"
        "warnings.simplefilter('ignore'); logging.disable(logging.WARNING)\n"
        "names = runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
        "assert names['Quantizer'].__module__.startswith('coreai_opt.')\n"
        "print(names['prepared_output'].flatten().tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, str(SCRIPTS / "weight_only.py"), name, "eager"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = run(SCRIPTS / "weight_only.py", [name, "eager"])["prepared_output"]
    assert done.stdout.splitlines()[-1] == str(ours.flatten().tolist())
