"""Where in the user's code an operation is called, which distinguishes two calls of ``add``."""

from __future__ import annotations

import dis
import functools
import itertools
import linecache
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import nn

SiteKey = tuple[Any, ...]


class SourceFrame(NamedTuple):
    """One level of the calls that led to an operation.

    Attributes:
        filename: Source file.
        lineno: Line number in it, from 1.
        function_name: Name of the function.
        code_context: The source line, stripped.
    """

    filename: str
    lineno: int
    function_name: str
    code_context: str


_TORCH = os.path.dirname(torch.__file__) + os.sep


class _Code:
    """What keys need to know of a code object.

    Attributes:
        code: Kept alive, so that no other code object gets its id.
        of_torch: Whether it belongs to torch.
        places: The instruction of every offset at which a frame can be.
    """

    __slots__ = ("code", "of_torch", "places")

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.of_torch = code.co_filename.startswith(_TORCH)
        # Once the interpreter has specialized an instruction, a frame may be at its cache entries
        # or, in Python 3.11, at the PRECALL before the CALL.
        self.places: dict[int, int] = {}
        starts = [(i.offset, i.opname) for i in dis.get_instructions(code)]
        starts.append((len(code.co_code), ""))
        for (start, name), (end, _) in itertools.pairwise(starts):
            place = end if name == "PRECALL" else start
            self.places.update((offset, place) for offset in range(start, end, 2))


# Keys hold ids of code objects, because hashing the objects themselves is slow. A prepared model
# keeps what its keys name, and no longer than it lives itself.
Codes = dict[int, _Code]


# Torch's own frames are kept out of listings; a torch that names them otherwise lists two more.
_PLUMBING = frozenset(
    getattr(getattr(nn.Module, name, None), "__code__", None)
    for name in ("_call_impl", "_wrapped_call_impl")
)


def site_key(op_name: str, path: int, depth: int, end: CodeType, codes: Codes) -> SiteKey:
    """Identify a call by its operation and the instructions that led to it inside its module.

    Source lines would not do: one line may hold several calls. Code objects and instruction
    offsets are the same in every run of a forward, whatever branches it takes.

    Args:
        op_name: Name of the operation.
        path: Which of the module's own call sites led there.
        depth: Frames between this function and the caller of the operation.
        end: Code of the function that runs a module's forward, where the walk outwards ends.
        codes: What the model knows of code objects; more is added.
    """
    key: list[Any] = [op_name, path]
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code is not end:
        code = frame.f_code
        known = codes.get(id(code)) or _noted(code, codes)
        key += (id(code), known.places[frame.f_lasti])
        frame = frame.f_back
    return tuple(key)


def module_key(depth: int, end: CodeType, codes: Codes) -> SiteKey:
    """Identify the call of a module by the instructions that led to it in the module around it.

    Torch's own frames do not count: hooks, ``torch.jit.trace`` and ``torch.export`` add some.

    Args:
        depth: Frames between this function and whatever called the module.
        end: Code of the function that runs a module's forward, where the walk outwards ends.
        codes: What the model knows of code objects; more is added.
    """
    key: list[Any] = []
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code is not end:
        code = frame.f_code
        known = codes.get(id(code)) or _noted(code, codes)
        if not known.of_torch:
            key += (id(code), known.places[frame.f_lasti])
        frame = frame.f_back
    return tuple(key)


def _noted(code: CodeType, codes: Codes) -> _Code:
    known = codes[id(code)] = _Code(code)
    return known


def source_frames(depth: int, end: CodeType) -> tuple[SourceFrame, ...]:
    """The user's calls that led to an operation, outermost first.

    Args:
        depth: Frames between this function and the caller of the operation.
        end: Code of the function that runs the whole model, where the walk outwards ends.
    """
    frames: list[SourceFrame] = []
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code is not end:
        code, module = frame.f_code, frame.f_globals.get("__name__", "")
        if code not in _PLUMBING and not module.startswith(("quant_torch.", "torch.overrides")):
            line = linecache.getline(code.co_filename, frame.f_lineno).strip()
            frames.append(SourceFrame(code.co_filename, frame.f_lineno, code.co_name, line))
        frame = frame.f_back
    return tuple(reversed(frames))


@functools.cache
def looked_into(function: FunctionType) -> Callable[..., Any]:
    """A copy of a torch function that does not offer itself to ``__torch_function__``.

    Functions such as ``multi_head_attention_forward`` hand themselves over as a whole before they
    call linear and matmul. The copy runs the same code and reaches those calls.
    """
    own = {
        **function.__globals__,
        "has_torch_function": _never,
        "has_torch_function_unary": _never,
        "has_torch_function_variadic": _never,
    }
    copy = FunctionType(
        function.__code__, own, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _never(*args: object) -> bool:
    return False
