"""Attention and transformer layers of torch: their matrices on crossbars, the rest digital.

They are taken apart here, layer by layer, so that torch's fused evaluation path, which computes
from the raw weights, plays no part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from aimc_sim.bridge import trace_shapes as shapes
from aimc_sim.bridge.trace_digital import constant, emit
from aimc_sim.bridge.trace_layers import linear
from aimc_sim.bridge.trace_values import (
    BatchAxisError,
    Missing,
    Parameter,
    Size,
    Value,
    as_tensor,
    unsupported,
)

if TYPE_CHECKING:
    from aimc_sim.bridge.trace import Walk


def multihead_attention(
    walk: Walk, path: str, module: nn.MultiheadAttention, query: Any, key: Any, value: Any,
    key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Value, Missing]:  # fmt: skip
    """Projections are layers; scores, softmax and the weighted sum are digital."""
    where, kind = f"layer '{path}'", "MultiheadAttention"
    if module.bias_k is not None or module.add_zero_attn:
        raise unsupported(where, kind, "bias_k, bias_v and add_zero_attn are not supported")
    given = [as_tensor(part, where, kind, ndim=3) for part in (query, key, value)]
    axis = 0 if module.batch_first else 1
    if any(part.axis != axis for part in given):
        raise BatchAxisError(
            f"{where} ({kind}) cannot be mapped: it has batch_first={module.batch_first}, but the "
            f"batch is dimension {given[0].axis} of what it reads; transpose it, or use "
            f"batch_first={not module.batch_first}"
        )
    heads = [
        _heads(walk, f"{path}.{letter}", part, module)
        for letter, part in zip("qkv", _projected(walk, path, module, given), strict=True)
    ]
    mask = _mask(walk, path, module, key_padding_mask, attn_mask)
    causal = is_causal and mask is None
    made = walk.emit(
        f"{path}.attention", "attention", (*heads, *((mask,) if mask else ())), ndim=4, axis=0,
        attrs={"causal": bool(causal), "scale": None}, modules=(path,),
    )  # fmt: skip
    made = shapes.permute(walk, f"{path}.join", made, 0, 2, 1, 3)
    made = shapes.flatten_some(walk, f"{path}.joined", made, 2, 3)
    if axis == 1:
        made = shapes.permute(walk, f"{path}.time", made, 1, 0, 2)
    projection = module.out_proj
    out = linear(
        walk, f"{path}.out_proj", made, Parameter(f"{path}.out_proj.weight", projection.weight),
        Parameter(f"{path}.out_proj.bias", projection.bias),
    )  # fmt: skip
    return out, Missing(f"the attention weights of '{path}' are not kept; use need_weights=False")


def _projected(
    walk: Walk, path: str, module: nn.MultiheadAttention, given: list[Value]
) -> list[Value]:
    """Return queries, keys and values; one layer makes all three where they read the same."""
    bias, size = module.in_proj_bias, module.embed_dim
    if module.in_proj_weight is not None:
        weights = list(module.in_proj_weight.split(size))
    else:
        weights = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    biases = [None] * 3 if bias is None else list(bias.split(size))
    if given[0] is given[1] is given[2]:
        joined = linear(
            walk, f"{path}.in_proj", given[0],
            Parameter(f"{path}.in_proj.weight", torch.cat(weights)),
            Parameter(f"{path}.in_proj.bias", bias),
        )  # fmt: skip
        return [
            shapes.index(
                walk, f"{path}.{letter}", joined, (Ellipsis, slice(i * size, (i + 1) * size))
            )
            for i, letter in enumerate("qkv")
        ]
    return [
        linear(
            walk, f"{path}.{letter}_proj", part,
            Parameter(f"{path}.{letter}_proj.weight", weight),
            Parameter(f"{path}.{letter}_proj.bias", b),
        )
        for letter, part, weight, b in zip("qkv", given, weights, biases, strict=True)
    ]  # fmt: skip


def _heads(walk: Walk, name: str, value: Value, module: nn.MultiheadAttention) -> Value:
    """(B, T, E) or (T, B, E) -> (B, heads, T, E / heads)."""
    if value.axis == 1:
        value = shapes.permute(walk, f"{name}.batch", value, 1, 0, 2)
    batch, time = (Size(value.name, (d,)) for d in (0, 1))
    value = shapes.reshape(
        walk, f"{name}.heads", value, batch, time, module.num_heads, module.head_dim
    )
    return shapes.permute(walk, f"{name}.by_head", value, 0, 2, 1, 3)


def _mask(
    walk: Walk, path: str, module: nn.MultiheadAttention, padding: Any, mask: Any
) -> Value | None:
    """Return what is added to the scores: minus infinity where nothing may be seen."""
    values, attrs = [], {"padding": padding is not None, "heads": module.num_heads}
    for letter, part in (("padding", padding), ("mask", mask)):
        if part is None:
            continue
        if isinstance(part, torch.Tensor):
            part = Parameter(f"{path}.{letter}", part)
        if isinstance(part, Parameter):
            part = constant(walk, f"{path}.{letter}", part)
        values.append(as_tensor(part, f"layer '{path}'", "attention mask"))
    if not values:
        return None
    return walk.emit(
        f"{path}.bias", "attention_bias", tuple(values), ndim=4, attrs=attrs, modules=(path,),
        axis=0 if padding is not None else None,
    )  # fmt: skip


def encoder_layer(
    walk: Walk, path: str, module: nn.TransformerEncoderLayer, src: Any, src_mask: Any = None,
    src_key_padding_mask: Any = None, is_causal: bool = False,
) -> Value:  # fmt: skip
    """Self-attention and a feed-forward part, each added to what it read and normalised."""
    masks = {"attn_mask": src_mask, "key_padding_mask": src_key_padding_mask}

    def attend(x: Value) -> Value:
        return walk.call_module(f"{path}.self_attn", module.self_attn, x, x, x, **masks)[0]

    x = as_tensor(src, f"layer '{path}'", "TransformerEncoderLayer", ndim=3)
    x = _sublayer(walk, path, module, "1", x, attend)
    return _sublayer(walk, path, module, "2", x, lambda y: _feed_forward(walk, path, module, y))


def decoder_layer(
    walk: Walk, path: str, module: nn.TransformerDecoderLayer, tgt: Any, memory: Any,
    tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
    memory_key_padding_mask: Any = None, tgt_is_causal: bool = False,
    memory_is_causal: bool = False,
) -> Value:  # fmt: skip
    """Self-attention, attention to the memory, and a feed-forward part."""
    own = {"attn_mask": tgt_mask, "key_padding_mask": tgt_key_padding_mask}
    other = {"attn_mask": memory_mask, "key_padding_mask": memory_key_padding_mask}

    def attend(x: Value) -> Value:
        return walk.call_module(f"{path}.self_attn", module.self_attn, x, x, x, **own)[0]

    def look(x: Value) -> Value:
        attention = module.multihead_attn
        return walk.call_module(
            f"{path}.multihead_attn", attention, x, memory, memory, **other
        )[0]  # fmt: skip

    x = as_tensor(tgt, f"layer '{path}'", "TransformerDecoderLayer", ndim=3)
    x = _sublayer(walk, path, module, "1", x, attend)
    x = _sublayer(walk, path, module, "2", x, look)
    return _sublayer(walk, path, module, "3", x, lambda y: _feed_forward(walk, path, module, y))


def _sublayer(walk: Walk, path: str, module: nn.Module, number: str, x: Value, part: Any) -> Value:
    norm = getattr(module, f"norm{number}")

    def normalise(y: Value) -> Value:
        return walk.call_module(f"{path}.norm{number}", norm, y)

    def add(a: Value, b: Value) -> Value:
        return walk.emit(f"{path}.add{number}", "add", (a, b), ndim=3, modules=(path,), axis=a.axis)

    return add(x, part(normalise(x))) if module.norm_first else normalise(add(x, part(x)))


def _feed_forward(walk: Walk, path: str, module: nn.Module, x: Value) -> Value:
    x = walk.call_module(f"{path}.linear1", module.linear1, x)
    function = module.activation
    if isinstance(function, nn.Module):
        x = walk.call_module(f"{path}.activation", function, x)
    elif function in (F.relu, torch.relu):
        x = walk.emit(f"{path}.activation", "relu", (x,), ndim=3, modules=(path,))
    elif function is F.gelu:
        x = emit(walk, f"{path}.activation", "gelu", (x,), modules=(path,), ndim=3, axis=x.axis)
    else:
        raise unsupported(
            f"layer '{path}'", type(module).__name__,
            f"its activation {function!r:.60} is not supported; use 'relu' or 'gelu'",
        )  # fmt: skip
    return walk.call_module(f"{path}.linear2", module.linear2, x)


def encoder(
    walk: Walk, path: str, module: nn.TransformerEncoder, src: Any, mask: Any = None,
    src_key_padding_mask: Any = None, is_causal: Any = None,
) -> Value:  # fmt: skip
    """Layers one after the other."""
    x = src
    for number, layer in enumerate(module.layers):
        x = walk.call_module(
            f"{path}.layers.{number}", layer, x, src_mask=mask,
            src_key_padding_mask=src_key_padding_mask,
        )  # fmt: skip
    return x if module.norm is None else walk.call_module(f"{path}.norm", module.norm, x)


def decoder(
    walk: Walk, path: str, module: nn.TransformerDecoder, tgt: Any, memory: Any,
    tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
    memory_key_padding_mask: Any = None, tgt_is_causal: Any = None, memory_is_causal: bool = False,
) -> Value:  # fmt: skip
    """Layers one after the other, all reading the same memory."""
    x = tgt
    for number, layer in enumerate(module.layers):
        x = walk.call_module(
            f"{path}.layers.{number}", layer, x, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
        )  # fmt: skip
    return x if module.norm is None else walk.call_module(f"{path}.norm", module.norm, x)


def transformer(
    walk: Walk, path: str, module: nn.Transformer, src: Any, tgt: Any, src_mask: Any = None,
    tgt_mask: Any = None, memory_mask: Any = None, src_key_padding_mask: Any = None,
    tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
    **_: Any,
) -> Value:  # fmt: skip
    """Encoder and decoder."""
    memory = walk.call_module(
        f"{path}.encoder", module.encoder, src, mask=src_mask,
        src_key_padding_mask=src_key_padding_mask,
    )  # fmt: skip
    return walk.call_module(
        f"{path}.decoder", module.decoder, tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
        tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
    )  # fmt: skip
