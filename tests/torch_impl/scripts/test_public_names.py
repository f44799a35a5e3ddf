"""Public names of coreai-opt: here, or in the table of what is not."""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from pathlib import Path

import pytest
from tests.torch_impl.scripts.public_names import members_of, modules_of, names_of

import quant_torch

PEER = "coreai_opt"
PAGE = Path(__file__).parents[3] / "docs" / "quantizer.md"
TABLE = "### Names that are not here"


def listed() -> set[tuple[str, str]]:
    """(module or class, name) of the table; (module, "") where the whole module is not here."""
    section = PAGE.read_text("utf-8").split(TABLE)[1].split("\n#")[0]
    found = set()
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.M):
        places, names = (re.findall(r"`([\w.]+)`", cell) for cell in row)
        found |= {(place, name) for place in places for name in names or [""]}
    return found


def absent() -> set[tuple[str, str]]:
    """The same, by introspection of the two packages."""
    gone: set[tuple[str, str]] = set()
    for name in modules_of(PEER):
        if any(not public and name.startswith(f"{module}.") for module, public in gone):
            continue
        theirs = importlib.import_module(f"{PEER}.{name}".rstrip("."))
        try:
            ours = importlib.import_module(f"quant_torch.{name}".rstrip("."))
        except ModuleNotFoundError:
            gone.add((name, ""))
            continue
        for public in names_of(theirs):
            if not hasattr(ours, public):
                gone.add((name, public))
                continue
            owner, own = getattr(theirs, public), getattr(ours, public)
            if inspect.isclass(owner):
                # An alias of ours, such as CompressionConfig, goes by its own name.
                members = {*dir(own), *getattr(own, "model_fields", {})}
                gone |= {(own.__name__, m) for m in members_of(owner) if m not in members}
    return gone


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_public_name_is_here_or_in_the_table() -> None:
    pytest.importorskip(PEER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = absent()
    # Set in __init__, so no attribute of the class.
    found.discard(("FakeQuantizeImplBase", "is_stateless"))
    assert found == listed()


@pytest.mark.parametrize(
    "name", ["casting", "common", "config", "export", "inspection", "quantization"]
)
def test_subpackages_are_reached_from_the_package(name: str) -> None:
    assert getattr(quant_torch, name) is importlib.import_module(f"quant_torch.{name}")
    assert name in dir(quant_torch)


def test_what_the_package_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'quant_torch' has no attribute 'exprot'"):
        _ = quant_torch.exprot
