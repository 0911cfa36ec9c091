"""Slow twins: the mapper's graph and the chip's steps, executed one by one in plain torch."""

import torch
import torch.nn.functional as F

from aimc_sim.chip.program import AnalogLayer
from aimc_sim.digital.apply import apply


def digital(op, attrs, *x, arrays=None, sizes=None):
    """Compute what the mapper knows by its attributes; the rest are operations of ATen itself."""
    if op == "affine":
        shape = (1, -1) + (1,) * (x[0].ndim - 2)
        scale, offset = (torch.tensor(attrs[key]).view(shape) for key in ("scale", "offset"))
        return scale * x[0] + offset
    own = {
        "relu": lambda: x[0].clamp(min=0),
        "add": lambda: x[0] + x[1],
        "concat": lambda: torch.cat(x, attrs["dim"]),
        "max_pool2d": lambda: F.max_pool2d(x[0], **attrs),
        "avg_pool2d": lambda: F.avg_pool2d(x[0], **attrs),
        "global_avg_pool": lambda: x[0].mean((2, 3), keepdim=True),
        "flatten": lambda: x[0].flatten(1),
        "subsample": lambda: x[0][tuple(slice(*part) for part in attrs["slices"])],
        "pad": lambda: F.pad(x[0], attrs["pad"]),
    }.get(op)
    return apply(op, x, attrs, arrays, sizes) if own is None else own()


def run_network(network, x):
    """Execute a graph on x (batch, ...)."""
    values, sizes = {network.input: x}, {network.input: tuple(x.shape)}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        arrays = {key: torch.from_numpy(array) for key, array in node.arrays.items()}
        if node.op == "conv2d":
            attrs = {key: part for key, part in node.attrs.items() if key != "devices"}
            values[node.name] = F.conv2d(*inputs, **arrays, **attrs)
        elif node.op == "linear":
            values[node.name] = F.linear(*inputs, **arrays)
        elif node.op == "batch_norm":
            attrs = {key: array.tolist() for key, array in node.arrays.items()}
            values[node.name] = digital("affine", attrs, *inputs)
        elif node.op != "input":
            values[node.name] = digital(
                node.op, node.attrs, *inputs, arrays=node.arrays, sizes=sizes
            )
    return values[network.output]


def run_steps(steps, source, output, x):
    """Execute steps on x (batch, ...); blocks, if there are any, one by one along each chain."""
    values, sizes = {source: x}, {source: tuple(x.shape)}
    for step in steps:
        inputs = [values[name] for name in step.sources]
        if isinstance(step, AnalogLayer):
            values[step.name] = analog(step, *inputs)
        else:
            values[step.name] = digital(
                step.op, step.attrs, *inputs, arrays=step.arrays, sizes=sizes
            )
    return values[output]


def analog(layer, x, residual=None):
    """Execute one layer by unfolding, so that rows mean what chip/program.py says they mean."""
    columns, side = x.unsqueeze(-1), ()
    if layer.kind == "conv2d":
        geometry = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        columns = F.unfold(x, *geometry)
        side = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, d, p, s in zip(x.shape[2:], *geometry, strict=True)
        ]
    weight = torch.from_numpy(layer.weight)
    if layer.blocks:
        product = torch.zeros(len(x), weight.shape[1], columns.shape[2])
        for b in layer.blocks:
            rows, cols = slice(b.row_start, b.row_stop), slice(b.col_start, b.col_stop)
            product[:, cols] += weight[rows, cols].T @ columns[:, rows]
    else:
        product = weight.T @ columns
    product = product.reshape(len(x), -1, *side)
    scale, offset = layer.scale.tolist(), layer.offset.tolist()
    y = digital("affine", {"scale": scale, "offset": offset}, product)
    y = y if residual is None else y + residual
    return y.clamp(min=0) if layer.relu else y


def settle(model, seed=0):
    """Give every parameter and running statistic a value that is not its default."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point():
                fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 4
                value = torch.randn(tensor.shape, generator=generator) / fan**0.5
                tensor.copy_(value.abs() + 0.5 if name.endswith("running_var") else value)
    return model
