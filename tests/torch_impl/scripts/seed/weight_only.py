"""Weight-only quantization: configure, prepare, evaluate, finalize.

usage: weight_only.py MODEL MODE
"""

import sys

import coreai_opt as opt
import torch
from coreai_opt.quantization import Quantizer, QuantizerConfig
from coreai_opt.quantization.config import ExecutionMode
from tests.torch_impl.models import examples

name, mode = sys.argv[1:]
model, example_inputs = examples()[name]

config = QuantizerConfig.presets.w8(execution_mode=ExecutionMode(mode))
quantizer = Quantizer(model, config)
prepared_model = quantizer.prepare(example_inputs)

with torch.no_grad():
    prepared_output = prepared_model(*example_inputs)

finalized_model = quantizer.finalize(backend=opt.ExportBackend.CoreAI)
with torch.no_grad():
    finalized_output = finalized_model(*example_inputs)
