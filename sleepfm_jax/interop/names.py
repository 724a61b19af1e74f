"""Which name in a PyTorch state dict is which parameter of ours.

Every function yields (PyTorch name, our path). One rule holds for all layouts: our array is theirs
with its axes in reverse order. PyTorch keeps (out, in), (out, in, kernel) and (channel, length);
ours are (in, out), (kernel, in, out) and (length, channel).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sleepfm_jax.models.tokenizer import CONV_CHANNELS

Pairs = Iterator[tuple[str, tuple[str | int, ...]]]

TOKENIZER = "patch_embedding.tokenizer"
PROJECTION = 4 * len(CONV_CHANNELS) + 2  # after each stage's four members, mean and flatten


def linear(theirs: str, ours: tuple, bias: bool = True) -> Pairs:
    """nn.Linear."""
    yield f"{theirs}.weight", (*ours, "kernel")
    if bias:
        yield f"{theirs}.bias", (*ours, "bias")


def norm(theirs: str, ours: tuple) -> Pairs:
    """nn.LayerNorm."""
    yield f"{theirs}.weight", (*ours, "scale")
    yield f"{theirs}.bias", (*ours, "bias")


def batch_norm(theirs: str, ours: tuple) -> Pairs:
    """nn.BatchNorm1d, running statistics included."""
    yield from norm(theirs, ours)
    yield f"{theirs}.running_mean", (*ours, "mean")
    yield f"{theirs}.running_var", (*ours, "var")


def transformer_layer(theirs: str, ours: tuple) -> Pairs:
    """nn.TransformerEncoderLayer."""
    yield f"{theirs}.self_attn.in_proj_weight", (*ours, "attention", "qkv", "kernel")
    yield f"{theirs}.self_attn.in_proj_bias", (*ours, "attention", "qkv", "bias")
    yield from linear(f"{theirs}.self_attn.out_proj", (*ours, "attention", "out"))
    yield from linear(f"{theirs}.linear1", (*ours, "up"))
    yield from linear(f"{theirs}.linear2", (*ours, "down"))
    yield from norm(f"{theirs}.norm1", (*ours, "norm1"))
    yield from norm(f"{theirs}.norm2", (*ours, "norm2"))


def pooling(theirs: str, ours: tuple) -> Pairs:
    """AttentionPooling."""
    yield from transformer_layer(f"{theirs}.transformer_layer", (*ours, "layer"))


def encoder(layers: int, *, positions: bool, theirs: str = "", ours: tuple = ()) -> Pairs:
    """SetTransformer; `positions`: with the electrode code of the transfer paper."""
    for i in range(len(CONV_CHANNELS)):
        stage, member = (*ours, "tokenizer", "stages", i), f"{theirs}{TOKENIZER}"
        yield f"{member}.{4 * i}.weight", (*stage, "kernel")
        yield f"{member}.{4 * i}.bias", (*stage, "bias")
        yield f"{member}.{4 * i + 1}.weight", (*stage, "bn_scale")
        yield f"{member}.{4 * i + 1}.bias", (*stage, "bn_bias")
        yield f"{member}.{4 * i + 1}.running_mean", (*stage, "mean")
        yield f"{member}.{4 * i + 1}.running_var", (*stage, "var")
        yield f"{member}.{4 * i + 3}.weight", (*stage, "ln_scale")
        yield f"{member}.{4 * i + 3}.bias", (*stage, "ln_bias")
    yield from linear(f"{theirs}{TOKENIZER}.{PROJECTION}", (*ours, "tokenizer", "project"))
    if positions:
        code = (*ours, "electrodes")
        yield from linear(f"{theirs}channel_pe_mlp.0", (*code, "linear"), bias=False)
        yield from norm(f"{theirs}channel_pe_mlp.2", (*code, "norm"))
    yield from pooling(f"{theirs}spatial_pooling", (*ours, "channel_pooling"))
    yield from norm(f"{theirs}layer_norm", (*ours, "norm"))
    for i in range(layers):
        name = f"{theirs}transformer_encoder.layers.{i}"
        yield from transformer_layer(name, (*ours, "layers", i))
    yield from pooling(f"{theirs}temporal_pooling", (*ours, "time_pooling"))


def linear_head(layers: int, *, positions: bool) -> Pairs:
    """LinearHeadPE."""
    yield from encoder(layers, positions=positions, theirs="encoder.", ours=("encoder",))
    yield "enc_augment.mask_replacement", ("mask_vector",)
    conv = "enc_augment.relative_position.0"
    yield f"{conv}.parametrizations.weight.original0", ("position", "length")
    yield f"{conv}.parametrizations.weight.original1", ("position", "direction")
    yield f"{conv}.bias", ("position", "bias")
    yield from norm("enc_augment.input_conditioning.1", ("norm",))
    yield "enc_augment.input_conditioning.4.weight", ("widen", "kernel")
    yield "enc_augment.input_conditioning.4.bias", ("widen", "bias")
    yield from linear("extended_classifier.1", ("hidden",))
    yield from batch_norm("extended_classifier.4", ("batch_norm",))
    yield from linear("clf", ("classify",))


def resblocks_head(blocks: int) -> Pairs:
    """TokenResBlocksHead."""
    yield "stem.0.weight", ("stem", "kernel")
    yield from batch_norm("stem.1", ("stem_norm",))
    for i in range(blocks):
        for j in (1, 2):
            yield f"blocks.{i}.conv{j}.weight", ("blocks", i, f"conv{j}", "kernel")
            yield from batch_norm(f"blocks.{i}.bn{j}", ("blocks", i, f"norm{j}"))
    yield from linear("classifier", ("classify",))


def lstm(layers: int) -> Pairs:
    """nn.LSTM, bidirectional."""
    for i in range(layers):
        for direction, suffix in (("forward", ""), ("backward", "_reverse")):
            ours = ("lstm", direction, i)
            yield f"lstm.weight_ih_l{i}{suffix}", (*ours, "input_kernel")
            yield f"lstm.weight_hh_l{i}{suffix}", (*ours, "hidden_kernel")
            yield f"lstm.bias_ih_l{i}{suffix}", (*ours, "input_bias")
            yield f"lstm.bias_hh_l{i}{suffix}", (*ours, "hidden_bias")


def staging_lstm(layers: int) -> Pairs:
    """SleepEventLSTMClassifier."""
    yield from pooling("spatial_pooling", ("channel_pooling",))
    yield from norm("layer_norm", ("norm",))
    for i in range(layers):
        yield from transformer_layer(f"transformer_encoder.layers.{i}", ("layers", i))
    yield from lstm(layers)
    yield from linear("fc", ("classify",))


def cox_lstm(layers: int) -> Pairs:
    """DiagnosisFinetuneFullLSTMCOXPHWithDemo."""
    yield from pooling("spatial_pooling", ("channel_pooling",))
    yield from lstm(layers)
    yield from linear("demo_embedding.0", ("demographics",))
    yield from linear("disease_heads", ("hazards",))


def wav2sleep(params: Mapping[str, Any], stats: Mapping[str, Any]) -> Pairs:
    """Wav2Sleep; which options it has is read off ours, nested dictionaries."""
    for name, encoder in params["encoders"].items():
        theirs, ours = f"signal_encoders.encoders.{name}", ("encoders", name)
        moved = stats.get("encoders", {}).get(name, {})
        for i, block in encoder["blocks"].items():
            running = moved.get("blocks", {}).get(i, {})
            for conv in ("conv1", "conv2", "conv3"):
                here = (f"{theirs}.cnn.{i}.{conv}", (*ours, "blocks", i, conv))
                yield from _conv_layer(*here, block[conv], running.get(conv, {}))
            if "residual" in block:
                residual = (*ours, "blocks", i, "residual", "kernel")
                yield f"{theirs}.cnn.{i}.downsample.weight", residual
        yield from linear(f"{theirs}.linear", (*ours, "dense"))
        if "norm" in encoder:
            yield from norm(f"{theirs}.output_norm", (*ours, "norm"))
    if "embedding" in params:
        yield "signal_encoders.embedder.weight", ("embedding",)
    yield "epoch_mixer.register_tokens", ("mixer", "tokens")
    for i in params["mixer"]["layers"]:
        name = f"epoch_mixer.transformer_encoder.layers.{i}"
        yield from transformer_layer(name, ("mixer", "layers", i))
    for i, block in params["sequence"]["blocks"].items():
        moved = stats.get("sequence", {}).get("blocks", {}).get(i, {}).get("convs", {})
        for j, conv in block["convs"].items():
            here = f"sequence_mixer.dilated_convs.{i}.conv_layers.{j}"
            ours = ("sequence", "blocks", i, "convs", j)
            yield from _conv_layer(here, ours, conv, moved.get(j, {}))
    yield from linear("classifier", ("classify",))


def _conv_layer(theirs: str, ours: tuple, params: Mapping, stats: Mapping) -> Pairs:
    """ConvLayer1D: a convolution without bias, and one of several norms or one without entries."""
    yield f"{theirs}.conv.weight", (*ours, "conv", "kernel")
    if "norm" in stats:
        yield from batch_norm(f"{theirs}.norm", (*ours, "norm"))
        return
    for entry, name in (("weight", "scale"), ("bias", "bias")):
        if name in params.get("norm", {}):
            yield f"{theirs}.norm.{entry}", (*ours, "norm", name)
