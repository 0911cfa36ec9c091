"""Attention with its four projections on crossbars, and torch's fused paths kept away from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aimc_sim.training.crossbar import Crossbar
from aimc_sim.training.geometry import matrix_layout
from aimc_sim.training.layers import AnalogLayer, Crossbars

PARTS = ("q", "k", "v")


class AnalogMultiheadAttention(AnalogLayer, nn.MultiheadAttention):
    """Multi-head attention: projections on crossbars, the products of activations digital."""

    def matrices(self) -> dict[str, nn.Parameter]:
        """Return the projections that torch keeps as parameters, and the output projection."""
        if self._qkv_same_embed_dim:
            found = {"in_proj_weight": self.in_proj_weight}
        else:
            found = {f"{part}_proj_weight": getattr(self, f"{part}_proj_weight") for part in PARTS}
        return {**found, "out_proj.weight": self.out_proj.weight}

    def biases(self, name: str) -> list[nn.Parameter]:
        """Return the biases of a projection; those of q, k and v where they are one matrix."""
        bias = {"in_proj_weight": self.in_proj_bias, "out_proj.weight": self.out_proj.bias}
        return [bias[name]] if bias.get(name) is not None else []

    @torch._disable_dynamo
    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what torch's layer returns, through the crossbars."""
        self.settle()
        parts = self._parts()
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (
            _project(self.analog[part], x, weight, bias)
            for part, x, weight, bias in zip(PARTS, (query, key, value), parts, biases, strict=True)
        )
        swap = self.batch_first and query.dim() == 3
        if swap:
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        # torch's own attention with projections that do nothing: all its options, exactly.
        same = torch.eye(self.embed_dim, dtype=q.dtype, device=q.device)
        y, attended = nn.functional.multi_head_attention_forward(
            q, k, v, self.embed_dim, self.num_heads, None, None, self.bias_k, self.bias_v,
            self.add_zero_attn, self.dropout, same, None, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=True, q_proj_weight=same, k_proj_weight=same,
            v_proj_weight=same, average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        y = y.transpose(0, 1) if swap else y
        return _project(self.analog["out"], y, self.out_proj.weight, self.out_proj.bias), attended

    def _parts(self) -> list[Tensor]:
        if self._qkv_same_embed_dim:
            return list(self.in_proj_weight.chunk(3))
        return [getattr(self, f"{part}_proj_weight") for part in PARTS]


def _project(crossbar: Crossbar, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    weight = crossbar.weight(weight)
    if not crossbar.converts:
        return nn.functional.linear(x, weight, bias)
    y = crossbar.output(nn.functional.linear(crossbar.input(x), weight))
    return y if bias is None else y + bias.to(y.dtype)


PLAIN = {nn.MultiheadAttention: AnalogMultiheadAttention}
"""Analog form of the layer."""


def attach(layer: nn.MultiheadAttention, path: str, core, options, seed: int) -> None:
    """Turn an attention layer into its analog form, in place."""
    layer.__class__ = AnalogMultiheadAttention
    weights = dict(zip(PARTS, layer._parts(), strict=True)) | {"out": layer.out_proj.weight}
    crossbars = {
        name: Crossbar(f"{path}.{name}", matrix_layout(*weight.shape, core), core, options, seed)
        for name, weight in weights.items()
    }
    layer.analog = Crossbars(crossbars, options).to(layer.out_proj.weight.device)


def block_fused_paths(prepared: nn.Module) -> None:
    """Keep torch's fused encoder kernels, which read weights directly, away from analog layers."""
    for module in prepared.modules():
        if not any(isinstance(part, AnalogLayer) for part in module.modules()):
            continue
        if isinstance(module, nn.TransformerEncoderLayer):
            module.fused_before, module.activation_relu_or_gelu = module.activation_relu_or_gelu, 0
        elif isinstance(module, nn.TransformerEncoder):
            module.fused_before, module.use_nested_tensor = module.use_nested_tensor, False


def allow_fused_paths(plain: nn.Module) -> None:
    """Undo :func:`block_fused_paths`."""
    for module in plain.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and hasattr(module, "fused_before"):
            module.activation_relu_or_gelu = module.__dict__.pop("fused_before")
        elif isinstance(module, nn.TransformerEncoder) and hasattr(module, "fused_before"):
            module.use_nested_tensor = module.__dict__.pop("fused_before")
