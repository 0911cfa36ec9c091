"""Inputs, values and constants of a record, and the sentences of refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from aimc_sim.errors import UnsupportedLayerError

_SUPPORTED = (
    "Conv1d/2d, ConvTranspose1d/2d, Linear, LSTM, GRU, RNN and their cells, attention and "
    "transformer layers, normalisation, activations, Embedding, pooling, arithmetic, shapes"
)
"""The layers and operations of cores and digital units, in short."""

RANDOM = frozenset(
    "rand randn randint randperm rand_like randn_like randint_like bernoulli normal uniform "
    "multinomial dropout native_dropout feature_dropout alpha_dropout feature_alpha_dropout "
    "rrelu_with_noise poisson exponential geometric log_normal cauchy random".split()
)
"""Operations that draw random numbers."""

DATA_DEPENDENT = frozenset(
    "nonzero nonzero_numpy masked_select unique unique2 _unique2 unique_dim unique_consecutive "
    "item _local_scalar_dense nonzero_static bincount equal is_nonzero".split()
)
"""Operations whose result has a size, or is a decision, that depends on data."""

_HINTS = {
    "it draws random numbers in evaluation; draw them outside and give them as an input, or use "
    "nn.Dropout, which rests in evaluation": RANDOM,
    "its size depends on data, which a fixed program cannot follow; use torch.where, or apply it "
    "to the chip's output": DATA_DEPENDENT,
    "three-dimensional maps have no counterpart; write it with two dimensions": frozenset(
        ("conv3d", "conv_transpose3d")
    ),
    "apply it outside of the network, on the host": frozenset(
        "fft_fft fft_rfft fft_irfft fft_ifft fft_fft2 fft_rfft2 stft istft view_as_complex "
        "view_as_real complex polar".split()
    ),
}
"""Operations without a counterpart, by the remedy."""


@dataclass(frozen=True)
class Input:
    """A tensor that enters.

    Attributes
    ----------
    name : str
        Name of the value.
    sizes : tuple of int and sympy expressions
        Recorded size of every dimension.
    dtype : torch.dtype
        Type of its numbers.
    """

    name: str
    sizes: tuple[Any, ...]
    dtype: torch.dtype


@dataclass(eq=False)
class Value:
    """A tensor that is computed when the program runs.

    Attributes
    ----------
    name : str
        The node that writes it.
    sizes : tuple of int and sympy expressions
        Size of every dimension, the batch included.
    dtype : torch.dtype
        Type of its numbers.
    axis : int or None
        Dimension that counts the batch; None: there is none.
    moves : bool
        Whether it depends on the inputs of the batch; if not, all images share it.
    """

    name: str
    sizes: tuple[Any, ...]
    dtype: torch.dtype = torch.float32
    axis: int | None = 0
    moves: bool = True

    @property
    def ndim(self) -> int:
        """Number of dimensions, the batch included."""
        return len(self.sizes)


@dataclass(eq=False)
class Constant:
    """A tensor that does not depend on the inputs: a parameter, or computed from some.

    Attributes
    ----------
    tensor : torch.Tensor
        Its numbers, in any shape; on the meta device it has none.
    path : str
        Path of the (first) parameter or buffer behind it in the model.
    trained : bool
        Whether a parameter is behind it.
    stored : bool
        Whether it is the stored tensor itself, not computed from it.
    """

    tensor: torch.Tensor
    path: str = ""
    trained: bool = False
    stored: bool = True


class BatchAxisError(UnsupportedLayerError):
    """The dimension that was taken for the batch is not one: its parts cannot run alone."""


def unsupported(where: str, kind: str, reason: str | None = None) -> UnsupportedLayerError:
    """Return the error for a layer or operation, with a remedy.

    Parameters
    ----------
    where : str
        The words that name it, for example ``"layer 'layer1.0.conv1'"``, with the line of the
        user's code.
    kind : str
        Class of the layer or name of the operation.
    reason : str, optional
        The fault and a remedy; None: the kind as a whole is not supported.

    Returns
    -------
    UnsupportedLayerError
        The error, to be raised.
    """
    if reason is not None:
        return UnsupportedLayerError(f"{where} ({kind}) cannot be mapped: {reason}")
    name = kind.lower()
    hint = next(
        (hint for hint, names in _HINTS.items() if name in names or name.rstrip("_") in names),
        "replace it, or run this part on the host",
    )
    return UnsupportedLayerError(
        f"{where} ({kind}) has no counterpart on the chip; {hint}. Supported now: {_SUPPORTED}"
    )
