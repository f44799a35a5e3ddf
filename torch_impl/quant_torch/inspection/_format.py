"""A summary as text: a tree of modules and operations."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from quant_torch.inspection.types import ModelSummary, ModuleInfo, OpInfo

_LEGEND = """\
Legend:
  ■ module_name (module_type)  ◆ op_name [op_type]
  op inputs:      {I: producer[N]}    I is the key of op_input_spec, N the producer's output
  op states:      parameters and buffers, the keys of op_state_spec
  op outputs:     {N: [consumers]}    N is the key of op_output_spec
  module inputs:  {I: [op[N], ...]}   I is the key of module_input_spec
  module outputs: {I: op[N]}          I is the key of module_output_spec
"""

_MODULE, _OP, _DIM, _OFF = "\033[1;36m", "\033[33m", "\033[2m", "\033[0m"


def format_summary(summary: ModelSummary, colorize: bool | None = None) -> str:
    """The tree of a summary with a legend.

    Args:
        summary: The summary.
        colorize: Whether to use terminal colours; None for when standard output is a terminal
            that wants them (``NO_COLOR`` is respected).
    """
    if colorize is None:
        colorize = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = "\n".join([_LEGEND, *_module_lines(summary.model, "", "")])
    if colorize:
        return text
    for code in (_MODULE, _OP, _DIM, _OFF):
        text = text.replace(code, "")
    return text


def _module_lines(module: ModuleInfo, branch: str, indent: str) -> Iterator[str]:
    name = f"■ {module.module_name} " if module.module_name else ""
    yield f"{branch}{_MODULE}{name}{_OFF}({module.module_type})"
    entries: list[ModuleInfo | OpInfo] = [*module.children(), *module.ops]
    trunk = indent + ("│   " if entries else "    ")
    if module.input_ops:
        taken = ", ".join(
            f"{i}: [{', '.join(f'{e.op.op_name}[{e.index}]' for e in edges)}]"
            for i, edges in sorted(module.input_ops.items())
        )
        yield f"{trunk}{_DIM}module inputs:  {{{taken}}}{_OFF}"
    if module.output_ops:
        made = ", ".join(
            f"{i}: {e.op.op_name}[{e.index}]" for i, e in sorted(module.output_ops.items())
        )
        yield f"{trunk}{_DIM}module outputs: {{{made}}}{_OFF}"
    for entry in entries:
        last = entry is entries[-1]
        head, rest = indent + ("└── " if last else "├── "), indent + ("    " if last else "│   ")
        if isinstance(entry, ModuleInfo):
            yield from _module_lines(entry, head, rest)
        else:
            yield from _op_lines(entry, head, rest)


def _op_lines(op: OpInfo, head: str, rest: str) -> Iterator[str]:
    yield f"{head}{_OP}◆ {op.op_name}{_OFF} [{op.op_type}]"
    activations = [
        f"{i}: {edge.op_name}" + ("" if edge.output_idx is None else f"[{edge.output_idx}]")
        for i, edge in enumerate(op.inputs)
        if not edge.is_state
    ]
    states = [edge.op_name.rpartition(".")[2] for edge in op.inputs if edge.is_state]
    consumers = [
        f"{i}: [{', '.join(o.op_name for o in taken)}]" for i, taken in sorted(op.outputs.items())
    ]
    if activations:
        yield f"{rest}    {_DIM}op inputs:  {{{', '.join(activations)}}}{_OFF}"
    if states:
        yield f"{rest}    {_DIM}op states:  {', '.join(states)}{_OFF}"
    if consumers:
        yield f"{rest}    {_DIM}op outputs: {{{', '.join(consumers)}}}{_OFF}"
    if op.source_frames:
        frame = op.source_frames[-1]
        yield f"{rest}    {_DIM}source:     {frame.filename}:{frame.lineno}{_OFF}"
        yield f"{rest}    {_DIM}            {frame.code_context}{_OFF}"
