"""What the user asks to have judged: a model, data and a config, loaded and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from quant_conformance.errors import ConformanceError, UsageError
from quant_conformance.gate.recording.forward_inputs import FORMS, Inputs
from quant_conformance.runner.invoke import describe
from quant_conformance.runner.loading import load_object
from quant_conformance.runner.tracebacks import place_of, trace_of

_FORMS = (
    "an nn.Module that has example_inputs() or batches(count), a pair (module, example_inputs), or "
    "a mapping with 'model' (or 'prepared', with 'finalized' if there is one) and 'example_inputs'"
)


@dataclass
class Subject:
    """A model and its data.

    Attributes:
        name: how reports call it.
        model: the float model, or None where a prepared one was given.
        batches: inputs of forward passes, a tuple of positional ones as well; the last is judged,
            the others calibrate.
        prepared: a model that was prepared elsewhere, or None.
        finalized: its finalized form, made elsewhere, or None.
    """

    name: str
    model: nn.Module | None
    batches: list[Inputs]
    prepared: nn.Module | None = None
    finalized: nn.Module | None = None

    def __post_init__(self) -> None:
        """Takes tuples for what they are."""
        self.batches = [Inputs.of(batch) for batch in self.batches]

    @property
    def example(self) -> Inputs:
        """The inputs that are judged."""
        return self.batches[-1]

    @property
    def calibration(self) -> list[Inputs]:
        """The inputs that calibrate: all but the last, which serves alone where it is alone."""
        return self.batches[:-1] or self.batches


def load_subject(reference: str, data: str | None = None) -> Subject:
    """Loads a model by ``module:factory`` or ``path/file.py:factory``, with its data.

    Args:
        reference: a function without arguments, or a class.
        data: ``file.npz`` with arrays ``input_0``, ``input_1``, … of shape (passes, …), or a
            function without arguments that returns the inputs of forward passes; None where the
            model brings its own.

    Raises:
        UsageError: no such model or data, or of another form.
    """
    factory = load_object(reference, "model")
    if not callable(factory):
        raise UsageError(f"model {reference!r} is {type(factory).__name__}; give {_FORMS}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = _called("model", reference, factory)
        subject = _subject(reference, made, needs_data=data is None)
    if data is not None:
        subject.batches = load_batches(data)
    return subject


def load_batches(data: str) -> list[Inputs]:
    """Loads the inputs of forward passes; see :func:`load_subject`."""
    if not data.endswith(".npz"):
        loader = load_object(data, "data")
        given = _called("data", data, loader) if callable(loader) else loader
        return _batches(given, data)
    path = Path(data)
    if not path.is_file():
        raise UsageError(f"data {data!r}: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (ValueError, TypeError, OSError, EOFError, BadZipFile) as error:
        raise UsageError(f"data {data!r} cannot be read as arrays of numbers: {error}") from error
    if not columns or set(columns) != {f"input_{index}" for index in range(len(columns))}:
        raise UsageError(
            f"data {data!r} holds {sorted(columns)}; it must hold input_0, input_1, …, "
            "each of shape (passes, …)"
        )
    passes = {column.shape[:1] for column in columns.values()}
    if len(passes) != 1 or not next(iter(passes)) or passes == {(0,)}:
        given = ", ".join(f"{name} {tuple(t.shape)}" for name, t in sorted(columns.items()))
        raise UsageError(
            f"data {data!r} holds {given}; every array needs the shape (passes, …) with the same "
            "number of passes, at least one"
        )
    ordered = [columns[f"input_{index}"] for index in range(len(columns))]
    return [Inputs(tuple(row)) for row in zip(*ordered, strict=True)]


def _called(what: str, reference: str, function: Callable[[], Any]) -> Any:
    """Calls what the user names; what it raises is told with the line of the user's code.

    Raises:
        UsageError: it raised.
    """
    try:
        return function()
    except ConformanceError:
        raise
    except Exception as error:
        owner = function if isinstance(function, type | FunctionType) else type(function)
        told = f"{what} {reference!r} raised {describe(error)} ({place_of(error, owner)})"
        raise UsageError(f"{told}\n{trace_of(error).rstrip()}") from error


def load_config(path: Path | None, mode: str | None) -> Any:
    """Reads a QuantizerConfig from YAML; the default one where no file is given.

    Raises:
        UsageError: no such file, or no valid config; the text is the quantizer's own.
    """
    from quant_torch.quantization import QuantizerConfig

    if path is None:
        config = QuantizerConfig()
    elif not path.is_file():
        raise UsageError(f"there is no config {path}")
    else:
        try:
            config = QuantizerConfig.from_yaml(path)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} is no valid config: {error}") from error
    return config if mode is None else config.set_execution_mode(mode)


def _subject(name: str, made: Any, needs_data: bool) -> Subject:
    if isinstance(made, nn.Module):
        return Subject(name, made.eval(), _own_batches(name, made) if needs_data else [])
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module):
        return Subject(name, made[0].eval(), _batches([made[1]], name))
    if isinstance(made, Mapping):
        parts = {key: made.get(key) for key in ("model", "prepared", "finalized")}
        wrong = [k for k, v in parts.items() if v is not None and not isinstance(v, nn.Module)]
        has_model = parts["model"] is not None or parts["prepared"] is not None
        if not wrong and has_model:
            given = made.get("batches", made.get("example_inputs"))
            batches = [given] if "batches" not in made and given is not None else given
            if batches or not needs_data:
                return Subject(name, batches=_batches(batches, name) if batches else [], **parts)
            raise UsageError(f"model {name!r} brings no data; give --data, or {_FORMS}")
    raise UsageError(f"model {name!r} made {type(made).__name__}; give {_FORMS}")


def _own_batches(name: str, model: Any) -> list[Inputs]:
    if hasattr(model, "batches"):
        return _batches(model.batches(4), name)
    if hasattr(model, "example_inputs"):
        given = model.example_inputs
        return _batches([given() if callable(given) else given], name)
    raise UsageError(f"model {name!r} brings no data; give --data, or {_FORMS}")


def _batches(given: Any, where: str) -> list[Inputs]:
    if not isinstance(given, Iterable) or isinstance(given, Mapping):
        raise UsageError(
            f"{where} gave {type(given).__name__}; data are a list, for each forward pass {FORMS}"
        )
    batches = [Inputs.read(item) for item in given]
    if not batches:
        raise UsageError(f"{where} gave no data")
    return batches
