"""Small transformers with random weights, of the kinds that transforms are tried on."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import nn

WORDS, WIDTH, HEADS = 20, 16, 2


def settled(model: nn.Module) -> nn.Module:
    """Give norms and biases numbers of their own, the same at every call; evaluation mode."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * parameter.shape[-1] ** -0.5)
            else:
                parameter.copy_(0.4 * noise + (0.0 if "bias" in name else 1.0))
    return model.eval()


class Attention(nn.Module):
    """Causal attention of separate products, called as a layer of one input."""

    def __init__(self, width=WIDTH, heads=HEADS):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        b, t, width = x.shape
        q, k, v = (
            product(x).view(b, t, self.heads, -1).transpose(1, 2)
            for product in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(b, t, width))


class Block(nn.Module):
    """A block with its norms in front."""

    def __init__(self, width=WIDTH):
        super().__init__()
        self.first, self.attention = nn.LayerNorm(width), Attention(width)
        self.second = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        x = x + self.attention(self.first(x))
        return x + self.down(F.gelu(self.up(self.second(x))))


class Language(nn.Module):
    """Layer norms, learned positions cut to length, and a head without bias, tied or not."""

    def __init__(self, blocks=2, tied=False):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Parameter(torch.zeros(1, 12, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, words):
        x = self.embedding(words) + self.positions[:, : words.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Rms(nn.Module):
    """An RMS norm written by hand."""

    def __init__(self, width=WIDTH):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Offset(Rms):
    """An RMS norm that stores its gain as the difference from one."""

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1.0 + self.weight)


class Rotary(nn.Module):
    """RMS norms by hand, rotary positions, grouped keys, gates, and no bias anywhere."""

    def __init__(self, heads=4, groups=2):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, WIDTH // heads
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.first, self.second, self.norm = Rms(), Rms(), Offset()
        self.q, self.o = nn.Linear(WIDTH, WIDTH, False), nn.Linear(WIDTH, WIDTH, False)
        self.k = nn.Linear(WIDTH, groups * self.size, False)
        self.v = nn.Linear(WIDTH, groups * self.size, False)
        self.gate, self.up = nn.Linear(WIDTH, 24, False), nn.Linear(WIDTH, 24, False)
        self.down, self.head = nn.Linear(24, WIDTH, False), nn.Linear(WIDTH, WORDS, False)

    def turned(self, x):
        places = torch.arange(x.shape[2], dtype=x.dtype)
        angles = torch.outer(places, 0.1 ** torch.arange(self.size // 2, dtype=x.dtype))
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        a, b = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-b, a), dim=-1) * sin

    def forward(self, words):
        x = self.embedding(words)
        b, t, _ = x.shape
        y = self.first(x)
        q = self.turned(self.q(y).view(b, t, self.heads, self.size).transpose(1, 2))
        k = self.turned(self.k(y).view(b, t, self.groups, self.size).transpose(1, 2))
        v = self.v(y).view(b, t, self.groups, self.size).transpose(1, 2)
        k, v = (z.repeat_interleave(self.heads // self.groups, dim=1) for z in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(b, t, WIDTH))
        y = self.second(x)
        return self.head(self.norm(x + self.down(F.silu(self.gate(y)) * self.up(y))))


class Encoder(nn.Module):
    """Torch's own encoder with packed projections, between an embedding and a head."""

    def __init__(self, norm_first=True):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, 0.0, batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(
            layer, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False
        )
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        return self.head(self.encoder(self.embedding(words)))


class Image(nn.Module):
    """Patches by a convolution, a token of its own for the class, layer scales, mean of tokens."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.zeros(1, 5, WIDTH))
        self.first, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        x = x + self.scale * self.attention(self.first(x))
        return self.head(self.norm(x).mean(1))


KINDS = {
    "language": Language,
    "tied": lambda: Language(tied=True),
    "rotary": Rotary,
    "encoder": Encoder,
    "image": Image,
}
"""Networks by name."""


@functools.cache
def network(kind):
    """Return a network in float64; not to be changed."""
    return settled(KINDS[kind]()).double()


def inputs(kind, length=5, batch=2):
    """Return inputs of a network; a length only where it is free."""
    generator = torch.Generator().manual_seed(length)
    if kind == "image":
        return torch.randn(batch, 3, 8, 8, generator=generator).double()
    return torch.randint(0, WORDS, (batch, length), generator=generator)
