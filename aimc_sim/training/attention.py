"""Attention with its four projections on crossbars, and torch's fused paths kept away from it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from aimc_sim.spec import CoreSpec
from aimc_sim.training.crossbar import Crossbar
from aimc_sim.training.geometry import matrix_layout
from aimc_sim.training.layers import Crossbars, PreparedLayer
from aimc_sim.training.options import TrainingSpec

PARTS = ("q", "k", "v")
"""Projections of queries, keys and values."""
JOINED = ("q", "k", "v", "kv", "qkv")
"""Matrices that torch cuts from one parameter: those that read the same value are one product."""


def projections(layer: nn.MultiheadAttention) -> list[str]:
    """Return the names that the chip gives to the matrices of an attention, without its path."""
    if layer._qkv_same_embed_dim:
        return ["in_proj", "out_proj"]
    return [*(f"{part}_proj" for part in PARTS), "out_proj"]


class AnalogMultiheadAttention(PreparedLayer, nn.MultiheadAttention):
    """Multi-head attention: projections on crossbars, the products of activations digital."""

    def matrices(self) -> dict[str, nn.Parameter]:
        """Return the parameters of those projections that are analog."""
        found = {f"{name}_weight": name for name in projections(self)[:-1]}
        kept = {
            key: getattr(self, key)
            for key, name in found.items()
            if any(part in self.analog for part in _crossbars(name))
        }
        return kept | ({"out_proj.weight": self.out_proj.weight} if "out" in self.analog else {})

    def biases(self, name: str) -> list[nn.Parameter]:
        """Return the biases of a projection; those of q, k and v where they are one matrix."""
        bias = {"in_proj_weight": self.in_proj_bias, "out_proj.weight": self.out_proj.bias}
        return [bias[name]] if bias.get(name) is not None else []

    @_disable_dynamo
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
        q, k, v = self._projected(query, key, value)
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
        return self._project("out", y, self.out_proj.weight, self.out_proj.bias), attended

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values; those of one tensor are one product, as in torch.

        On the chip it is one layer, whose blocks hold columns of several projections.
        """
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if not self._qkv_same_embed_dim:
            weights = [getattr(self, f"{part}_proj_weight") for part in PARTS]
        elif query is key is value:
            return self._project("qkv", query, weight, bias).chunk(3, -1)
        elif key is value:
            sizes = [self.embed_dim, 2 * self.embed_dim]
            apart = torch.split(weight, sizes)
            offsets = (None, None) if bias is None else torch.split(bias, sizes)
            q = self._project("q", query, apart[0], offsets[0])
            return q, *self._project("kv", key, apart[1], offsets[1]).chunk(2, -1)
        else:
            weights = list(weight.chunk(3))
        biases = [None] * 3 if bias is None else bias.chunk(3)
        given = zip(PARTS, (query, key, value), weights, biases, strict=True)
        return tuple(self._project(*each) for each in given)

    def _project(self, name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if name not in self.analog:
            return nn.functional.linear(x, weight, bias)
        return _product(self.analog[name], x, weight, bias)


def _product(crossbar: Crossbar, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    weight = crossbar.weight(weight)
    if not crossbar.converts:
        return nn.functional.linear(x, weight, bias)
    y = crossbar.output(nn.functional.linear(crossbar.input(x), weight))
    return y if bias is None else y + bias.to(y.dtype)


PLAIN: dict[type[nn.Module], type[PreparedLayer]] = {
    nn.MultiheadAttention: AnalogMultiheadAttention
}
"""Analog form of the layer."""


def attach(
    layer: nn.Module, path: str, cores: Callable[[str], CoreSpec], options: TrainingSpec, seed: int,
    parts: Collection[str],
) -> None:  # fmt: skip
    """Turn an attention layer into its analog form, in place.

    Parameters
    ----------
    layer : nn.MultiheadAttention
        The layer.
    path : str
        Path of the layer in the network.
    cores : callable
        From the name of a matrix to devices, converters and size of its crossbars.
    options : TrainingSpec
        Effects of the training.
    seed : int
        Seed of all noise.
    parts : collection of str
        Those of :func:`projections` that are analog.
    """
    layer.__class__ = AnalogMultiheadAttention
    layer = cast(AnalogMultiheadAttention, layer)
    size, shapes, of = layer.embed_dim, {}, {}
    for name in parts:
        for part in _crossbars(name):
            inputs = {"k": layer.kdim, "v": layer.vdim}.get(part, size)
            shapes[part] = (size * (len(part) if part in JOINED else 1), inputs)
            of[part] = cores(name)
    crossbars = {
        part: Crossbar(f"{path}.{part}", matrix_layout(*shape, of[part]), of[part], options, seed)
        for part, shape in shapes.items()
    }
    for crossbar in crossbars.values():
        crossbar.refuse_levels("attention")
    layer.analog = Crossbars(crossbars, options).to(layer.out_proj.weight.device)


def _crossbars(name: str) -> tuple[str, ...]:
    """Return the matrices that one of the :func:`projections` may be multiplied as."""
    return JOINED if name == "in_proj" else (name.removesuffix("_proj"),)


_FUSED: tuple[tuple[type[nn.Module], str, int | bool], ...] = (
    (nn.TransformerEncoderLayer, "activation_relu_or_gelu", 0),
    (nn.TransformerEncoder, "use_nested_tensor", False),
)
"""Modules with a fused path, the attribute that asks for it, and its value that does not."""


def block_fused_paths(prepared: nn.Module) -> None:
    """Keep torch's fused encoder kernels, which read weights directly, away from analog layers."""
    for module in prepared.modules():
        if not any(isinstance(part, PreparedLayer) for part in module.modules()):
            continue
        for kind, switch, off in _FUSED:
            if isinstance(module, kind):
                vars(module)["fused_before"] = getattr(module, switch)
                setattr(module, switch, off)


def allow_fused_paths(plain: nn.Module) -> None:
    """Undo :func:`block_fused_paths`."""
    for module in plain.modules():
        for kind, switch, _ in _FUSED:
            if isinstance(module, kind) and "fused_before" in vars(module):
                setattr(module, switch, vars(module).pop("fused_before"))
