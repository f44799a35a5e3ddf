"""Recurrent layers step by step, for a converter that wants their weights in floats.

coremltools reorders the rows of an LSTM's or a GRU's weights, which it cannot do with codes.
Written out, a step is a product with the weight as it is. The products with the sequence are one
for all of its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from quant_torch.export.rewriting._rule import Rules, aten

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]
"""From what comes of the input, what comes of the state, and the state."""


def _lstm_step(given: Tensor, kept: Tensor, state: State) -> State:
    enter, forget, new, leave = (given + kept).chunk(4, -1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _gru_step(given: Tensor, kept: Tensor, state: State) -> State:
    given_reset, given_update, given_new = given.chunk(3, -1)
    kept_reset, kept_update, kept_new = kept.chunk(3, -1)
    update = torch.sigmoid(given_update + kept_update)
    new = torch.tanh(given_new + torch.sigmoid(given_reset + kept_reset) * kept_new)
    return (new + update * (state[0] - new),)


def _run(
    step: Step,
    x: Tensor,
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    directions = 2 if bidirectional else 1
    each = len(params) // (layers * directions)
    x = x.transpose(0, 1) if batch_first else x
    finals: list[State] = []
    for layer in range(layers):
        sides = []
        for direction in range(directions):
            index = layer * directions + direction
            own = list(params[index * each : (index + 1) * each])
            state = tuple(whole[index] for whole in states)
            rows, state = _one_way(step, x, state, own, has_biases, direction == 1)
            sides.append(rows)
            finals.append(state)
        x = torch.cat(sides, -1) if bidirectional else sides[0]
    last = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    return (x.transpose(0, 1) if batch_first else x, *last)


def _one_way(
    step: Step, x: Tensor, state: State, own: list[Tensor], has_biases: bool, backwards: bool
) -> tuple[Tensor, State]:
    weight, recurrent = own[:2]
    bias, recurrent_bias = own[2:4] if has_biases else (None, None)
    projection = own[-1] if len(own) % 2 else None
    given = torch.nn.functional.linear(x, weight, bias)
    rows: list[Tensor] = []
    for place in reversed(range(x.shape[0])) if backwards else range(x.shape[0]):
        kept = torch.nn.functional.linear(state[0], recurrent, recurrent_bias)
        state = step(given[place], kept, state)
        if projection is not None:
            state = (torch.nn.functional.linear(state[0], projection), *state[1:])
        rows.append(state[0])
    return torch.stack(rows[::-1] if backwards else rows), state


def _plain(activation: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def step(given: Tensor, kept: Tensor, state: State) -> State:
        return (activation(given + kept),)

    def rule(
        x: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, layers: int,
        dropout: float, train: bool, bidirectional: bool, batch_first: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        return _run(step, x, (hx,), params, has_biases, layers, bidirectional, batch_first)

    return rule


def _lstm(
    x: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    return _run(_lstm_step, x, hx, params, has_biases, layers, bidirectional, batch_first)


def _gru(
    x: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    return _run(_gru_step, x, (hx,), params, has_biases, layers, bidirectional, batch_first)


COMPRESSED: Rules = {
    aten.lstm.input: _lstm,
    aten.gru.input: _gru,
    aten.rnn_tanh.input: _plain(torch.tanh),
    aten.rnn_relu.input: _plain(torch.relu),
}
"""Rules for operations that read compressed weights; coremltools has them for others."""
