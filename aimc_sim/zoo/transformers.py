"""Small transformers: characters of Penn Treebank, images of CIFAR-10.

Both are ours (widths from no paper): pre-norm blocks of four heads, width 128, with GELU between
two linear layers of 512, as in A. Dosovitskiy et al., *An image is worth 16x16 words*, ICLR 2021
(arXiv:2010.11929), section 3.1. The character transformer has four blocks and a causal mask over
128 characters; the vision transformer has six and patches of 4 x 4 pixels, 64 of an image, whose
mean is classified (no class token).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aimc_sim import arguments
from aimc_sim.zoo.stored import MOST_CLASSES, WeightFiles, fill

CHARACTERS, CONTEXT = 50, 128
WIDTH, HEADS = 128, 4
PATCH, IMAGE = 4, 32

CHAR_KIND = WeightFiles(
    name="character transformer",
    layout="embedding, positions, blocks.0 ... blocks.3, norm, dense",
    head="dense",
    shipped={},
    training={},
)
VISION_KIND = WeightFiles(
    name="vision transformer",
    layout="patches, positions, blocks.0 ... blocks.5, norm, dense",
    head="dense",
    shipped={"cifar10": "vit_cifar10.pt"},
    training={"cifar10": "python -m aimc_sim.zoo.train_cifar --model vit --data DIR"},
)
"""The weight files of the two architectures; no trained weights are installed with the package."""

_INIT_SEED = 128


class TransformerBlock(nn.Module):
    """Attention and two linear layers, each behind a norm and beside the residual stream.

    Parameters
    ----------
    width : int
        Numbers of a token.
    heads : int
        A divisor of ``width``.
    causal : bool
        Whether a token attends to earlier ones and itself only.
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, width) as they leave the block."""
        y = self.norm1(x)
        query, key, value = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        x = x + self.out(heads.transpose(1, 2).flatten(-2))
        found: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return found


class CharTransformer(nn.Module):
    """Characters (N, T) int64, T at most 128, to scores of the next one (N, T, 50)."""

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(
            *(TransformerBlock(WIDTH, HEADS, causal=True) for _ in range(blocks))
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.dense = nn.Linear(WIDTH, CHARACTERS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scores (before any softmax)."""
        place = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.positions(place)
        scores: Tensor = self.dense(self.norm(self.blocks(x)))
        return scores


class VisionTransformer(nn.Module):
    """Images (N, 3, 32, 32) to class scores (N, num_classes)."""

    def __init__(self, num_classes: int = 10, blocks: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.positions = nn.Parameter(torch.empty((IMAGE // PATCH) ** 2, WIDTH))
        self.blocks = nn.Sequential(
            *(TransformerBlock(WIDTH, HEADS, causal=False) for _ in range(blocks))
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.dense = nn.Linear(WIDTH, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class scores (before any softmax)."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        scores: Tensor = self.dense(self.norm(self.blocks(x)).mean(1))
        return scores


def redraw(network: CharTransformer | VisionTransformer, seed: int) -> None:
    """Draw new weights from the seed, in place: normal, of standard deviation 0.02 or less.

    Layers that write the residual stream get ``0.02 / sqrt(2 blocks)``, as in A. Radford et al.,
    *Language models are unsupervised multitask learners*, 2019, section 2.3 (the factor; 0.02 is
    that of GPT-1 and GPT-2's published settings). Biases are zero.

    Parameters
    ----------
    network : CharTransformer or VisionTransformer
    seed : int
        Of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    written = 0.02 / (2 * len(network.blocks)) ** 0.5
    for name, part in network.named_modules():
        if isinstance(part, nn.Linear | nn.Embedding | nn.Conv2d):
            spread = written if name.endswith((".out", ".down")) else 0.02
            nn.init.normal_(part.weight, std=spread, generator=generator)
            if isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
                nn.init.zeros_(part.bias)
    if isinstance(network, VisionTransformer):
        nn.init.normal_(network.positions, std=0.02, generator=generator)


def char_transformer(weights: str | Path | None = None) -> CharTransformer:
    """Build the character transformer in evaluation mode.

    Parameters
    ----------
    weights : None or path
        None: random (see :func:`redraw`, always the same draw). Else the path of a state dict
        saved by ``torch.save``.

    Returns
    -------
    CharTransformer
        A float32 network on the CPU, in evaluation mode: 822,578 parameters.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    with torch.random.fork_rng(devices=[]):
        network = CharTransformer()
    redraw(network, _INIT_SEED)
    if weights is not None:
        fill(network, weights, CHAR_KIND)
    return network.eval()


def vit(num_classes: int = 10, weights: str | Path | None = None) -> VisionTransformer:
    """Build the vision transformer in evaluation mode.

    Parameters
    ----------
    num_classes : int
        Number of outputs of the last layer, at least 1.
    weights : None, "cifar10" or path
        None: random (see :func:`redraw`, always the same draw). "cifar10": weights
        trained on :func:`aimc_sim.zoo.cifar10`; none are installed, the message says how to train
        them. Else the path of a state dict saved by ``torch.save``.

    Returns
    -------
    VisionTransformer
        A float32 network on the CPU, in evaluation mode: 1,205,642 parameters with ten classes.

    Raises
    ------
    FileNotFoundError
        If there is no file at ``weights``.
    ValueError
        If the file cannot be read as weights, or they belong to another network.
    """
    num_classes = arguments.whole(num_classes, "num_classes", 1, MOST_CLASSES)
    with torch.random.fork_rng(devices=[]):
        network = VisionTransformer(num_classes)
    redraw(network, _INIT_SEED)
    if weights is not None:
        fill(network, weights, VISION_KIND)
    return network.eval()
