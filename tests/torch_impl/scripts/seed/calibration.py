"""Weight and activation quantization: calibrate on a little data, then finalize.

usage: calibration.py MODEL MODE
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

with torch.no_grad():
    first_output = prepared_model(*example_inputs)
    observed_outputs = []
    with quantizer.calibration_mode():
        for batch in batches(name, 3):
            observed_outputs.append(prepared_model(*batch))
    prepared_output = prepared_model(*example_inputs)

finalized_model = quantizer.finalize(backend=opt.ExportBackend.CoreAI)
with torch.no_grad():
    finalized_output = finalized_model(*example_inputs)
