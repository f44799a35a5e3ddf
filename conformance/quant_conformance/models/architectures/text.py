"""Models of transformers that take tokens, and an encoder of speech."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from quant_conformance.models.architectures.vision import Batch, Only, declare_torchvision

VOCABULARY = 60

_SIZES: Mapping[str, int] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 32,
}

_DECODER: Mapping[str, int] = {**_SIZES, "num_key_value_heads": 2}

# Distribution's folder, classes of the configuration and the model, sizes in its own words.
_MODELS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "Bert": ("bert", "BertModel", _SIZES),
    "DistilBert": (
        "distilbert",
        "DistilBertModel",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": VOCABULARY},
    ),
    "Roberta": ("roberta", "RobertaModel", _SIZES),
    "Albert": ("albert", "AlbertModel", {**_SIZES, "embedding_size": 16}),
    "Electra": ("electra", "ElectraModel", {**_SIZES, "embedding_size": 16}),
    "MPNet": ("mpnet", "MPNetModel", _SIZES),
    "Deberta": ("deberta", "DebertaModel", {**_SIZES, "relative_attention": True}),
    "T5Encoder": (
        "t5",
        "T5EncoderModel",
        {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 60},
    ),
    "GPT2": (
        "gpt2",
        "GPT2LMHeadModel",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": 32},
    ),
    "GPTNeoX": ("gpt_neox", "GPTNeoXForCausalLM", _SIZES),
    "OPT": ("opt", "OPTForCausalLM", {**_SIZES, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "Bloom": (
        "bloom",
        "BloomForCausalLM",
        {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY},
    ),
    "Llama": ("llama", "LlamaForCausalLM", _DECODER),
    "Mistral": ("mistral", "MistralForCausalLM", {**_DECODER, "sliding_window": 8}),
    "Gemma2": ("gemma2", "Gemma2ForCausalLM", {**_DECODER, "head_dim": 8}),
    "Qwen2": ("qwen2", "Qwen2ForCausalLM", _DECODER),
    "Phi": ("phi", "PhiForCausalLM", _SIZES),
    "Mamba": (
        "mamba",
        "MambaForCausalLM",
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "vocab_size": VOCABULARY},
    ),
}


def token_model(name: str, length: int, options: Mapping[str, Any]) -> tuple[nn.Module, Batch]:
    """Makes a model that takes token indices of shape (1, length)."""
    declare_torchvision()
    folder, cls, sizes = _MODELS[name]
    models = import_module(f"transformers.models.{folder}.modeling_{folder}")
    made = getattr(models, cls)
    config = made.config_class(**sizes, **options)
    for key, value in (("use_cache", False), ("bos_token_id", 1), ("eos_token_id", 2)):
        setattr(config, key, value)
    config.pad_token_id = 0
    config._attn_implementation = "eager"
    return Only(made(config), return_dict=False), tokens(length)


def tokens(length: int, vocabulary: int = VOCABULARY) -> Batch:
    """Returns what makes a batch of one row of tokens."""

    def batch(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return (torch.randint(3, vocabulary, (1, length), generator=generator),)

    return batch


def whisper_encoder() -> tuple[nn.Module, Batch]:
    """Makes Whisper's encoder of speech: convolutions, then attention."""
    declare_torchvision()
    from transformers.models.whisper.configuration_whisper import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=24,
    )
    config._attn_implementation = "eager"

    def batch(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return (torch.randn(1, 16, 48, generator=generator),)

    return Only(WhisperEncoder(config), return_dict=False), batch
