"""Models of timm, torchvision and transformers that take an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

Batch = Callable[[torch.Generator], tuple[Any, ...]]

_OPERATORS = (
    *("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"),
    *("_roi_align_backward", "_roi_pool_backward", "_ps_roi_align_backward"),
    *("_ps_roi_pool_backward", "_deform_conv2d_backward"),
)


class Only(nn.Module):
    """A model of which one output is of interest, whatever it returns.

    Args:
        model: the model.
        **fixed: keyword arguments of every call.
    """

    def __init__(self, model: nn.Module, **fixed: Any) -> None:
        super().__init__()
        self.model = model
        self.fixed = fixed

    def forward(self, *inputs: Tensor) -> Any:
        """Returns the first output."""
        made = self.model(*inputs, **self.fixed)
        return made if isinstance(made, Tensor) else made[0]


@cache
def declare_torchvision() -> torch.library.Library:
    """Declares the operators of torchvision, whose binary is made for another build of torch.

    Its Python part needs the names when it is imported; no model here calls one.
    """
    library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor x) -> Tensor")
    return library


def images(size: int, channels: int = 3) -> Batch:
    """Returns what makes a batch of one image, smooth as photographs are."""

    def batch(generator: torch.Generator) -> tuple[Tensor, ...]:
        coarse = torch.randn(1, channels, size // 8, size // 8, generator=generator)
        fine = torch.randn(1, channels, size, size, generator=generator) * 0.1
        return (nn.functional.interpolate(coarse, size=(size, size), mode="bilinear") + fine,)

    return batch


def timm_model(name: str, size: int, options: Mapping[str, Any]) -> tuple[nn.Module, Batch]:
    """Makes a model of timm with ten classes."""
    declare_torchvision()
    import timm

    takes_size = any(word in name for word in ("vit_", "deit", "beit", "cait", "swin"))
    more = {"img_size": size} if takes_size and "mobilevit" not in name else {}
    model = timm.create_model(name, pretrained=False, num_classes=10, **more, **options)
    return model, images(size)


def timm_class(path: str, size: int, options: Mapping[str, Any]) -> tuple[nn.Module, Batch]:
    """Makes a model of timm with ten classes by its class, for sizes that its factories fix."""
    declare_torchvision()
    module, _, cls = path.rpartition(".")
    models = import_module(f"timm.models.{module}")
    given = dict(options)
    if "block" in given:
        given["block_layer"] = getattr(models, given.pop("block"))
    return getattr(models, cls)(num_classes=10, **given), images(size)


def torchvision_model(name: str, size: int) -> tuple[nn.Module, Batch]:
    """Makes a model of torchvision with ten classes; "ssdlite" is the head of a detector."""
    declare_torchvision()
    from torchvision import models

    if name == "ssdlite":
        return _Detector(models.mobilenet_v3_small(width_mult=0.5).features), images(size)
    more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return getattr(models, name)(weights=None, num_classes=10, **more), images(size)


class _Detector(nn.Module):
    """Classes and boxes from two levels of a backbone, as a single-shot detector has them."""

    def __init__(self, backbone: nn.Sequential) -> None:
        super().__init__()
        self.early, self.late = backbone[:9], backbone[9:]
        with torch.no_grad():
            fine = self.early(torch.zeros(1, 3, 64, 64))
            coarse = self.late(fine)
        widths = (fine.shape[1], coarse.shape[1])
        self.classes = nn.ModuleList(nn.Conv2d(width, 12, 3, padding=1) for width in widths)
        self.boxes = nn.ModuleList(nn.Conv2d(width, 8, 3, padding=1) for width in widths)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the scores (1, boxes, 6) and the boxes (1, boxes, 4)."""
        fine = self.early(x)
        levels = (fine, self.late(fine))
        scores = [
            head(level).permute(0, 2, 3, 1).reshape(1, -1, 6)
            for head, level in zip(self.classes, levels, strict=True)
        ]
        boxes = [
            head(level).permute(0, 2, 3, 1).reshape(1, -1, 4)
            for head, level in zip(self.boxes, levels, strict=True)
        ]
        return torch.cat(scores, 1).softmax(-1), torch.cat(boxes, 1)


def segformer() -> tuple[nn.Module, Batch]:
    """Makes a Segformer of two stages."""
    declare_torchvision()
    from transformers.models.segformer import SegformerConfig
    from transformers.models.segformer.modeling_segformer import SegformerForSemanticSegmentation

    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[4, 2],
        hidden_sizes=[16, 32],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=32,
        num_labels=5,
    )
    model = SegformerForSemanticSegmentation(config)
    return Only(model, return_dict=False), images(64)
