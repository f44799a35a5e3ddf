"""Fixtures of the tests that call the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conformance.sets import encodes, one_of_each, write_set

from quant_conformance.cli import main


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_set([*encodes(4), *one_of_each()], tmp_path_factory.mktemp("set")))


@pytest.fixture
def run(vectors: str) -> Callable[..., int]:
    def call(*names: str, more: tuple[str, ...] = ()) -> int:
        backends = [part for name in names for part in ("--backend", name)]
        return main(["run", "--vectors", vectors, "--no-isolate", *backends, *more])

    return call
