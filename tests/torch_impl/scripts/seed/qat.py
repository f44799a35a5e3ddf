"""Quantization-aware training: fine-tune with quantization simulated, then finalize.

usage: qat.py MODEL MODE
"""

import sys

import coreai_opt as opt
import torch
from coreai_opt.quantization import Quantizer, QuantizerConfig
from coreai_opt.quantization.config import ExecutionMode
from tests.torch_impl.models import batches, examples

name, mode = sys.argv[1:]
model, example_inputs = examples()[name]

config = QuantizerConfig(execution_mode=ExecutionMode(mode))
quantizer = Quantizer(model, config)
prepared_model = quantizer.prepare(example_inputs)

data = batches(name, 2)
with torch.no_grad():
    targets = [0.5 * prepared_model(*batch) for batch in data]
grad_optimizer = torch.optim.SGD(prepared_model.parameters(), lr=0.01, momentum=0.9)


def train_one_epoch() -> None:
    for batch, target in zip(data, targets, strict=True):
        grad_optimizer.zero_grad()
        torch.nn.functional.mse_loss(prepared_model(*batch), target).backward()
        grad_optimizer.step()


def validate() -> float:
    with torch.no_grad():
        outputs = [prepared_model(*batch) for batch in data]
    losses = map(torch.nn.functional.mse_loss, outputs, targets)
    return sum(loss.item() for loss in losses)


val_losses = [validate()]
for _epoch in range(4):
    with quantizer.training_mode():
        train_one_epoch()
    val_losses.append(validate())

with torch.no_grad():
    prepared_output = prepared_model(*example_inputs)
finalized_model = quantizer.finalize(backend=opt.ExportBackend.CoreAI)
with torch.no_grad():
    finalized_output = finalized_model(*example_inputs)
