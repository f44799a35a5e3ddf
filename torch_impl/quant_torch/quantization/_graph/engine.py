"""Graph mode at work on one model."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from quant_torch.quantization._engine import Engine
from quant_torch.quantization._evaluation import undisturbed
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization._graph.batch_norm import freeze_statistics
from quant_torch.quantization._graph.capture import capture
from quant_torch.quantization._graph.collector import collector_paused, import_exporter
from quant_torch.quantization._graph.configs import GraphConfig
from quant_torch.quantization._graph.folding import BatchNormFolder
from quant_torch.quantization._graph.insertion import (
    insert_activations,
    insert_states,
    remove_disabled,
)
from quant_torch.quantization._graph.matching import find_regions
from quant_torch.quantization._graph.patterns import BATCH_NORM
from quant_torch.quantization._graph.requests import boundary_outputs, collect_requests
from quant_torch.quantization._graph.sharing import Placement
from quant_torch.quantization._graph.states import recurrent_layers
from quant_torch.quantization.config import QuantizerConfig


class GraphEngine(Engine):
    """Captures the model and places fake-quantize modules in the graph (PLACE and BN clauses).

    The first one of a process imports what ``torch.export`` needs, which takes most of a second.
    """

    def __init__(self, model: nn.Module, config: QuantizerConfig) -> None:
        super().__init__(model, config)
        import_exporter()

    def prepare(
        self, inputs: ExampleInputs, dynamic_shapes: Any, export_with_no_grad: bool
    ) -> fx.GraphModule:
        """Capture, fold batch norms, place quantizers and initialise their qparams.

        The graph module shares parameters and buffers with the model, which is not changed.

        Raises:
            GraphCaptureError: ``torch.export`` cannot capture the model.
        """
        with collector_paused():
            module = place_quantizers(
                self.model, self.config, inputs, dynamic_shapes, export_with_no_grad
            )
            for quantizer in fake_quantizers(module):
                quantizer.enable_observer()
                quantizer.disable_fake_quant()
            with undisturbed(module), torch.no_grad():
                inputs.copied().run(module)
            remove_disabled(module)
        return module

    def freeze_batch_norm(self, model: nn.Module) -> None:
        """Keep the statistics of every batch norm in a prepared model (BN-4)."""
        freeze_statistics(model)


def place_quantizers(
    model: nn.Module,
    user_config: Any,
    inputs: ExampleInputs,
    dynamic_shapes: Any = None,
    export_with_no_grad: bool = True,
) -> fx.GraphModule:
    """The prepared graph of a model, its qparams not yet initialised."""
    config = GraphConfig(model, user_config)
    module = capture(model, inputs, dynamic_shapes, export_with_no_grad, config.whole_modules())
    graph = module.graph
    regions = find_regions(graph, boundary_outputs(graph, config))
    anchors = {node: region.anchor for region in regions for node in region.nodes}
    anchors |= {node: node for node in recurrent_layers(graph)}
    config.warn_about_unmatched(graph, anchors)
    requests = collect_requests(graph, regions, config)
    groups = Placement(graph, regions, requests, config).groups()
    folder = BatchNormFolder(module, model)
    for region in regions:
        if len(region.pattern.chain) > 1 and region.pattern.chain[1] == BATCH_NORM:
            folder.fold(*region.nodes[:2])
    folder.replace_alone(graph.nodes)
    insert_states(module, requests)
    insert_activations(module, groups)
    module.recompile()
    return module.eval()
