"""Networks as people write them by hand: one file of modules, and the list of cases."""

from __future__ import annotations

import math
from importlib import import_module

import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from networks.cases import Case, images, lines, series, vectors, words
from torch import nn


class Attention(nn.Module):
    """Causal self-attention as in nanoGPT."""

    def __init__(self, width, heads, longest, flash=True):
        super().__init__()
        self.heads, self.flash = heads, flash
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)
        self.drop = nn.Dropout(0.1)
        self.register_buffer("bias", torch.tril(torch.ones(1, 1, longest, longest)))

    def forward(self, x):
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(c, dim=2)
        q, k, v = (y.view(b, t, self.heads, c // self.heads).transpose(1, 2) for y in (q, k, v))
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            scores = scores.masked_fill(self.bias[:, :, :t, :t] == 0, float("-inf"))
            y = self.drop(F.softmax(scores, dim=-1)) @ v
        return self.drop(self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c)))


class NanoGPT(nn.Module):
    """A small language model with tied weights of embedding and head."""

    def __init__(self, flash):
        super().__init__()
        width, longest = 24, 16
        self.wte, self.wpe = nn.Embedding(30, width), nn.Embedding(longest, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "ln_1": nn.LayerNorm(width), "attn": Attention(width, 3, longest, flash),
                "ln_2": nn.LayerNorm(width), "c_fc": nn.Linear(width, 4 * width),
                "c_proj": nn.Linear(4 * width, width),
            })
            for _ in range(2)
        )  # fmt: skip
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, 30, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, words):
        t = words.size(1)
        x = self.wte(words) + self.wpe(torch.arange(t, device=words.device))
        for block in self.blocks:
            x = x + block["attn"](block["ln_1"](x))
            x = x + block["c_proj"](F.gelu(block["c_fc"](block["ln_2"](x)), approximate="tanh"))
        return self.lm_head(self.ln_f(x))


class Einops(nn.Module):
    """Attention written with einops layers and functions, and with einsum."""

    def __init__(self):
        super().__init__()
        self.patches = import_module("einops.layers.torch").Rearrange(
            "b c (h p) (w q) -> b (h w) (p q c)", p=4, q=4
        )
        self.embed, self.qkv = nn.Linear(48, 24), nn.Linear(24, 72, bias=False)
        self.out, self.head = nn.Linear(24, 24), nn.Linear(24, 5)

    def forward(self, x):
        einops = import_module("einops")
        x = self.embed(self.patches(x))
        q, k, v = einops.rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=3)
        weights = torch.einsum("bhid,bhjd->bhij", q, k).div(8**0.5).softmax(-1)
        y = einops.rearrange(torch.einsum("bhij,bhjd->bhid", weights, v), "b h n d -> b n (h d)")
        return self.head(einops.reduce(x + self.out(y), "b n d -> b d", "mean"))


class Chomp(nn.Module):
    """Cuts off what padding appended."""

    def __init__(self, cut):
        super().__init__()
        self.cut = cut

    def forward(self, x):
        return x[:, :, : -self.cut].contiguous()


class TemporalBlock(nn.Module):
    """As in the reference TCN: padded dilated convolutions under weight norm, cut, residual."""

    def __init__(self, inputs, outputs, dilation, norm):
        super().__init__()

        def conv(channels):
            return norm(nn.Conv1d(channels, outputs, 3, padding=2 * dilation, dilation=dilation))

        self.net = nn.Sequential(
            conv(inputs), Chomp(2 * dilation), nn.ReLU(), nn.Dropout(0.2),
            conv(outputs), Chomp(2 * dilation), nn.ReLU(), nn.Dropout(0.2),
        )  # fmt: skip
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x):
        return F.relu(self.net(x) + (x if self.downsample is None else self.downsample(x)))


class Tcn(nn.Module):
    """A temporal convolutional network, classified at its last step."""

    def __init__(self, norm):
        super().__init__()
        self.net = nn.Sequential(TemporalBlock(3, 8, 1, norm), TemporalBlock(8, 8, 2, norm))
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        return self.out(self.net(x)[:, :, -1])


def old_weight_norm(module):
    """The weight norm of before parametrisations, which keeps a forward pre-hook."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(module)


class Siamese(nn.Module):
    """Two images through one network, compared."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 6),
        )  # fmt: skip

    def forward(self, a, b):
        a, b = self.net(a), self.net(b)
        return F.cosine_similarity(a, b), (a - b).pow(2).sum(1).sqrt()


class SharedHead(nn.Module):
    """A pyramid whose three levels share one head, as detectors do."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.head = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))

    def forward(self, x):
        a = F.relu(self.stem(x))
        b = F.relu(self.down(a))
        levels = [a, b, F.max_pool2d(b, 2)]
        return torch.cat([self.head(y).flatten(2) for y in levels], dim=2).sigmoid()


class CellLoop(nn.Module):
    """A Python loop over a cell of torch."""

    def __init__(self, cell):
        super().__init__()
        self.cell, self.out = cell(5, 12), nn.Linear(12, 3)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 12)
        state = (h, torch.zeros_like(h)) if isinstance(self.cell, nn.LSTMCell) else h
        outputs = []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            outputs.append(self.out(state[0] if isinstance(state, tuple) else state))
        return torch.stack(outputs, dim=1)


class GruWithAttention(nn.Module):
    """A bidirectional GRU whose outputs are weighted by a learnt score."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(6, 10, batch_first=True, bidirectional=True)
        self.score, self.vector = nn.Linear(20, 12), nn.Parameter(torch.randn(12))
        self.out = nn.Linear(20, 3)

    def forward(self, x):
        y, _ = self.gru(x)
        weights = F.softmax(torch.tanh(self.score(y)) @ self.vector, dim=1)
        return self.out(torch.bmm(weights.unsqueeze(1), y).squeeze(1))


class Cbam(nn.Module):
    """Convolutional block attention: channels, then places."""

    def __init__(self, channels=8):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels)
        )
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.out = nn.Linear(channels, 4)

    def forward(self, x):
        x = self.conv(x).relu()
        size = (x.size(2), x.size(3))
        average = self.mlp(F.avg_pool2d(x, size, stride=size))
        largest = self.mlp(F.max_pool2d(x, size, stride=size))
        x = x * torch.sigmoid(average + largest).unsqueeze(2).unsqueeze(3).expand_as(x)
        both = torch.cat([torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)], dim=1)
        return self.out((x * torch.sigmoid(self.place(both))).mean((2, 3)))


class TNet(nn.Module):
    """Learns a transformation of the coordinates."""

    def __init__(self, k=3):
        super().__init__()
        self.k = k
        self.conv1, self.conv2 = nn.Conv1d(k, 16, 1), nn.Conv1d(16, 32, 1)
        self.bn1, self.bn2 = nn.BatchNorm1d(16), nn.BatchNorm1d(32)
        self.fc1, self.fc2 = nn.Linear(32, 16), nn.Linear(16, k * k)
        self.bn3 = nn.BatchNorm1d(16)

    def forward(self, x):
        batch = x.size(0)
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        x = torch.max(x, 2, keepdim=True)[0].view(-1, 32)
        x = self.fc2(F.relu(self.bn3(self.fc1(x))))
        identity = torch.eye(self.k).flatten().view(1, self.k * self.k).repeat(batch, 1)
        return (x + identity).view(-1, self.k, self.k)


class PointNet(nn.Module):
    """Points turned by a learnt matrix, features, the largest of each."""

    def __init__(self):
        super().__init__()
        self.tnet, self.conv1, self.bn1 = TNet(), nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16)
        self.conv2, self.fc = nn.Conv1d(16, 32, 1), nn.Linear(32, 5)

    def forward(self, x):
        turned = torch.bmm(x.transpose(2, 1), self.tnet(x)).transpose(2, 1)
        x = self.conv2(F.relu(self.bn1(self.conv1(turned))))
        return F.log_softmax(self.fc(torch.max(x, 2)[0]), dim=1)


class Gcn(nn.Module):
    """Kipf's graph convolutions with the graph as a buffer, or as an input."""

    def __init__(self, fixed):
        super().__init__()
        edges = (torch.rand(9, 9) < 0.3).float()
        edges = ((edges + edges.T + torch.eye(9)) > 0).float()
        degree = edges.sum(1).rsqrt()
        if fixed:
            self.register_buffer("graph", degree[:, None] * edges * degree)
        self.w1, self.w2 = nn.Linear(6, 12, bias=False), nn.Linear(12, 4, bias=False)
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, x, graph=None):
        graph = self.graph if graph is None else graph
        x = F.dropout(F.relu(graph @ self.w1(x)), 0.5, training=self.training)
        return F.log_softmax(graph @ self.w2(x) + self.bias, dim=-1)


class ConvLstm(nn.Module):
    """Convolutional LSTM over a short film."""

    def __init__(self):
        super().__init__()
        self.gates, self.out = nn.Conv2d(2 + 6, 4 * 6, 3, padding=1), nn.Conv2d(6, 1, 1)

    def forward(self, film):
        b, steps, _, rows, cols = film.shape
        h = torch.zeros(b, 6, rows, cols, device=film.device)
        c = torch.zeros_like(h)
        for t in range(steps):
            i, f, o, g = torch.chunk(self.gates(torch.cat((film[:, t], h), dim=1)), 4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


class SharedLayers(nn.Module):
    """One encoder layer applied three times, as ALBERT does."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 12)
        self.widen = nn.Linear(12, 24)
        self.layer = nn.TransformerEncoderLayer(24, 3, 48, batch_first=True, activation="gelu")
        self.out = nn.Linear(24, 4)

    def forward(self, words):
        x = self.widen(self.embedding(words))
        for _ in range(3):
            x = self.layer(x)
        return self.out(x.mean(1))


def double(inputs, outputs):
    """Two convolutions of a U-Net."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True), nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
    )  # fmt: skip


class UNet(nn.Module):
    """Decoder padded to the size of what it is joined with, whatever the size of the image."""

    def __init__(self):
        super().__init__()
        self.inc, self.down, self.low = double(1, 8), double(8, 16), double(16, 16)
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.up2, self.conv1 = nn.ConvTranspose2d(16, 8, 2, 2), double(32, 16)
        self.conv2, self.out = double(16, 8), nn.Conv2d(8, 2, 1)

    def joined(self, x, skip):
        dy, dx = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return torch.cat([skip, x], dim=1)

    def forward(self, x):
        a = self.inc(x)
        b = self.down(F.max_pool2d(a, 2))
        c = self.low(F.max_pool2d(b, 2))
        y = self.conv1(self.joined(self.up1(c), b))
        return self.out(self.conv2(self.joined(self.up2(y), a)))


class Enlarger(nn.Module):
    """Super-resolution by pixel shuffle over a global residual."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.up = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.PixelShuffle(2))
        self.down = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 3, 1))

    def forward(self, x):
        y = F.prelu(self.head(x), torch.tensor(0.2))
        y = self.up(y + 0.1 * self.body(y))
        y = y + F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        return y.clamp(-1, 1), self.down(y)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x):
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        std = self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(
            x, (self.weight - mean) / (std + 1e-5), self.bias, self.stride, self.padding
        )


class LayerScaled(nn.Module):
    """Depthwise, norm over channels last, pointwise, layer scale, stochastic depth."""

    def __init__(self, width=12, drop=0.2):
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm, self.pw1 = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.pw2, self.gamma = nn.Linear(3 * width, width), nn.Parameter(1e-6 * torch.ones(width))
        self.drop = drop

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = (self.gamma * self.pw2(F.gelu(self.pw1(y)))).permute(0, 3, 1, 2)
        if self.training:
            keep = (torch.rand(x.shape[0], 1, 1, 1) > self.drop).to(x.dtype)
            y = y * keep / (1 - self.drop)
        return x + y


class SqueezeExcite(nn.Module):
    """Channels scaled by what their averages say."""

    def __init__(self, channels=12):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, 2, 1)
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x):
        x = F.hardswish(self.conv(x))
        scale = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.fc2(F.silu(self.fc1(scale))))


class WaveNet(nn.Module):
    """Gated dilated convolutions with skips, padded on the left only."""

    def __init__(self, channels=8, layers=3):
        super().__init__()
        self.first = nn.Conv1d(1, channels, 1)
        self.gates = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, 2, dilation=2**i) for i in range(layers)
        )
        self.mixes = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 1) for _ in range(layers))
        self.out1, self.out2 = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, 6, 1)

    def forward(self, x):
        x, skips = self.first(x), 0
        for gate, mix in zip(self.gates, self.mixes, strict=True):
            a, b = gate(F.pad(x, (gate.dilation[0], 0))).chunk(2, dim=1)
            residual, skip = mix(torch.tanh(a) * torch.sigmoid(b)).chunk(2, dim=1)
            x, skips = x + residual, skips + skip
        return self.out2(F.relu(self.out1(F.relu(skips))))


class Snu(nn.Module):
    """One step of a spiking neural unit: state and output in, state and output out."""

    def __init__(self):
        super().__init__()
        self.w, self.decay = nn.Linear(8, 12, bias=False), 0.8
        self.threshold = nn.Parameter(torch.full((12,), -0.3))

    def forward(self, x, state, output):
        state = F.relu(self.w(x) + self.decay * state * (1 - output))
        return (state + self.threshold > 0).float(), state


class Bilinear(nn.Module):
    """Two vectors through a bilinear form, and a factorised one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.both = nn.Linear(6, 8), nn.Linear(5, 8), nn.Bilinear(6, 5, 4)

    def forward(self, x, y):
        return self.both(x, y), (self.a(x) * self.b(y)).sum(-1, keepdim=True)


class Bags(nn.Module):
    """Averaged words, without and with offsets given by a fixed length."""

    def __init__(self, mode):
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(30, 12, mode=mode), nn.Linear(12, 4)

    def forward(self, words):
        return self.out(self.bag(words))


class Mixer(nn.Module):
    """A mixer block with transposes."""

    def __init__(self, places=16, width=12):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places = nn.Sequential(nn.Linear(places, 24), nn.GELU(), nn.Linear(24, places))
        self.channels = nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Linear(24, width))

    def forward(self, x):
        x = self.patch(x).flatten(2).mT
        x = x + self.places(self.norm1(x).mT).mT
        return (x + self.channels(self.norm2(x))).mean(1)


class Inception(nn.Module):
    """Four branches joined."""

    def __init__(self):
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 3, padding=1)
        self.five, self.pool = nn.Conv2d(3, 5, 5, padding=2), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        pooled = F.avg_pool2d(x, 3, stride=1, padding=1)
        branches = [self.one(x), self.three(x), self.five(x), self.pool(pooled)]
        return F.elu(torch.cat(branches, 1))


class Autoencoder(nn.Module):
    """A variational autoencoder in evaluation: the mean is decoded."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten())
        self.mu, self.logvar = nn.Linear(128, 4), nn.Linear(128, 4)
        self.decoder = nn.Sequential(
            nn.Linear(4, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 1, 3, 2, 1, output_padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        y = self.encoder(x)
        mu, logvar = self.mu(y), self.logvar(y)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.decoder(z), mu, logvar


class Recommender(nn.Module):
    """Users and things embedded, joined with features given by name."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(20, 8), nn.Embedding(30, 8)
        self.deep = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, *, user, item, features):
        u, i = self.user(user), self.item(item)
        deep = self.deep(torch.cat([u, i, features], dim=-1)).squeeze(-1)
        return {"score": (deep + (u * i).sum(-1)).sigmoid(), "user": F.normalize(u, dim=-1)}


class Capsules(nn.Module):
    """Primary capsules with squash and norms."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 16, 3, 2, 1), nn.Linear(4, 6)

    def forward(self, x):
        y = self.conv(x).view(x.size(0), 4, -1).transpose(1, 2)
        size = y.norm(dim=-1, keepdim=True)
        y = (size**2 / (1 + size**2)) * y / (size + 1e-8)
        return torch.linalg.vector_norm(self.out(y), dim=-1)


class Rotary(nn.Module):
    """Attention with rotary positions, grouped keys, RMS norm and a gated block."""

    def __init__(self, width=24, heads=4):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norm = nn.RMSNorm(width)
        self.q, self.kv = nn.Linear(width, width, False), nn.Linear(width, width, False)
        self.o, self.w1 = nn.Linear(width, width, False), nn.Linear(width, 32, False)
        self.w3, self.w2 = nn.Linear(width, 32, False), nn.Linear(32, width, False)
        frequencies = 1.0 / 100 ** (torch.arange(0, self.size, 2) / self.size)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def turned(self, x):
        angles = torch.outer(torch.arange(x.shape[2]).float(), self.frequencies)
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        a, b = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-b, a), dim=-1) * sin

    def forward(self, x):
        b, n, _ = x.shape
        y = self.norm(x)
        q = self.turned(self.q(y).view(b, n, self.heads, self.size).transpose(1, 2))
        k, v = self.kv(y).view(b, n, 2, self.heads // 2, self.size).permute(2, 0, 3, 1, 4)
        k = self.turned(k).repeat_interleave(2, dim=1)
        v = v.repeat_interleave(2, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, n, -1))
        return x + self.w2(F.silu(self.w1(x)) * self.w3(x))


class Seq2Seq(nn.Module):
    """Encoder LSTM, decoder LSTM that starts from its state, dot-product attention."""

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(20, 8), nn.Embedding(25, 8)
        self.encoder = nn.LSTM(8, 12, batch_first=True)
        self.decoder = nn.LSTM(8, 12, batch_first=True)
        self.out = nn.Linear(24, 25)

    def forward(self, source, target):
        memory, state = self.encoder(self.source(source))
        y, _ = self.decoder(self.target(target), state)
        weights = torch.bmm(y, memory.transpose(1, 2)).softmax(dim=-1)
        return self.out(torch.cat((y, torch.bmm(weights, memory)), dim=-1))


class Crnn(nn.Module):
    """Convolutions, then a bidirectional LSTM along the columns, time first."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
            nn.MaxPool2d((2, 1), (2, 1)),
        )  # fmt: skip
        self.rnn, self.out = nn.LSTM(12 * 4, 10, bidirectional=True), nn.Linear(20, 6)

    def forward(self, x):
        b, c, h, w = (y := self.conv(x)).size()
        y = y.reshape(b, c * h, w).permute(2, 0, 1)
        y, _ = self.rnn(y)
        return F.log_softmax(self.out(y), dim=2)


class Policy(nn.Module):
    """Actor and critic of one trunk, with noisy-net style products of parameters."""

    def __init__(self):
        super().__init__()
        self.trunk, self.actor, self.critic = nn.Linear(6, 16), nn.Linear(16, 3), nn.Linear(16, 1)
        self.log_std = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        y = torch.tanh(self.trunk(x))
        std = self.log_std.exp().expand_as(mean := self.actor(y))
        return mean, F.softplus(std), self.critic(y)


class Kan(nn.Module):
    """Functions on edges: a linear part and a basis of bumps."""

    def __init__(self):
        super().__init__()
        self.base, self.spline = nn.Linear(6, 8), nn.Linear(6 * 5, 8, bias=False)
        self.register_buffer("grid", torch.linspace(-2, 2, 5))

    def forward(self, x):
        bumps = torch.exp(-((x[..., None] - self.grid) ** 2))
        return self.base(F.silu(x)) + self.spline(bumps.flatten(1))


class Fusion(nn.Module):
    """Normalisations and nonlinearities that are rarely seen."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norms = nn.ModuleList([nn.InstanceNorm2d(8, affine=True), nn.LocalResponseNorm(3),
                                    nn.GroupNorm(2, 8)])  # fmt: skip
        self.out = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = self.conv(x)
        for norm in self.norms:
            x = norm(x)
        x = F.mish(x) + F.hardtanh(x) + F.softsign(x) + F.tanhshrink(x) + F.logsigmoid(x)
        x = F.hardshrink(x) + F.softshrink(x) + F.threshold(x, 0.1, 0.2) + F.celu(x) + F.selu(x)
        return F.softmin(F.glu(self.out(x), dim=1), dim=1)


class Unfolded(nn.Module):
    """A convolution done by hand: unfold, matrix product, fold."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(27, 8)

    def forward(self, x):
        y = self.weight(F.unfold(x, 3, padding=1).transpose(1, 2)).transpose(1, 2)
        return F.fold(y, (x.shape[2], x.shape[3]), 1)


class Shuffled(nn.Module):
    """Grouped convolutions with a channel shuffle between, written both ways."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.shuffle, self.c = nn.ChannelShuffle(2), nn.Conv2d(8, 8, 1, groups=4)

    def forward(self, x):
        y = self.b(self.shuffle(self.a(x)))
        n, c, h, w = y.size()
        y = y.view(n, 4, c // 4, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
        return self.c(y).flip(3).roll(1, 2)


class Selected(nn.Module):
    """Gathering, sorting out, cumulating: what decoders and samplers do."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Linear(5, 12), nn.Linear(12, 6)

    def forward(self, x, lengths):
        y = self.embed(x).cumsum(dim=1) / torch.arange(1, x.shape[1] + 1).view(1, -1, 1)
        index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, y.shape[2])
        last = y.gather(1, index).squeeze(1)
        scores = self.out(last)
        best, where = scores.topk(2, dim=1)
        return best, where, scores.argmax(1), torch.minimum(scores, last[:, :6]).abs().sign()


class SpectralNorm(nn.Module):
    """Parametrisations: spectral norm, the new weight norm, a pruning mask."""

    def __init__(self):
        super().__init__()
        self.a = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, padding=1))
        self.b = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.c = nn.Linear(8, 4)
        nn.utils.prune.l1_unstructured(self.c, "weight", 0.5)

    def forward(self, x):
        return self.c(F.leaky_relu(self.b(F.leaky_relu(self.a(x), 0.2)), 0.2).mean((2, 3)))


class Hyper(nn.Module):
    """Masked and factorised weights, made in the forward method from parameters only."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 10))
        self.register_buffer("mask", torch.tril(torch.ones(12, 10)))
        self.u, self.v = nn.Parameter(torch.randn(12, 3)), nn.Parameter(torch.randn(3, 6))
        self.bias = nn.Parameter(torch.randn(6))

    def forward(self, x):
        y = torch.relu(F.linear(x, self.weight * self.mask))
        return torch.addmm(self.bias, y, self.u @ self.v) * self.bias.exp()


class PackedClassifier(nn.Module):
    """Words and lengths: a packed bidirectional LSTM, mean of what is no padding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8, padding_idx=0)
        self.rnn = nn.LSTM(8, 10, batch_first=True, bidirectional=True)
        self.out = nn.Linear(20, 3)

    def forward(self, words, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(words), lengths, batch_first=True, enforce_sorted=False
        )
        _, (h, _) = self.rnn(packed)
        return self.out(torch.cat([h[0], h[1]], dim=1))


def _pairs(batch, size):
    return torch.randn(batch, 1, size, size), torch.randn(batch, 1, size, size)


def _lengths(batch, size):
    lengths = torch.arange(batch) % size + 1
    lengths[0] = size
    return lengths


def _packed(batch, size):
    return torch.randint(1, 20, (batch, size)), _lengths(batch, size)


def _ratings(batch, _):
    return {
        "user": torch.randint(20, (batch,)), "item": torch.randint(30, (batch,)),
        "features": torch.randn(batch, 4),
    }  # fmt: skip


TORCH_TRANSFORMER = {"d_model": 16, "nhead": 4, "dim_feedforward": 32, "batch_first": True}

CASES = [
    Case("nanogpt", lambda: NanoGPT(True), words(30), (6, 11)),
    Case("nanogpt, attention by hand", lambda: NanoGPT(False), words(30), (6, 11)),
    Case("einops", Einops, images(), ((16, 16), (16, 24)), "einops"),
    Case("tcn, old weight norm", lambda: Tcn(old_weight_norm), lines(3), (16, 23)),
    Case("tcn, weight norm", lambda: Tcn(nn.utils.parametrizations.weight_norm), lines(3),
         (16, 23)),
    Case("siamese", Siamese, _pairs, (12, 16)),
    Case("shared head", SharedHead, images(), ((16, 24), (24, 16))),
    Case("lstm cell loop", lambda: CellLoop(nn.LSTMCell), series(5), (4, 6)),
    Case("gru cell loop", lambda: CellLoop(nn.GRUCell), series(5), (4, 6)),
    Case("rnn cell loop", lambda: CellLoop(nn.RNNCell), series(5), (4, 6)),
    Case("gru with attention", GruWithAttention, series(6), (5, 8)),
    Case("cbam", Cbam, images(), ((12, 16), (16, 10))),
    Case("pointnet", PointNet, lines(3), (20, 31)),
    Case("gcn", lambda: Gcn(True), vectors(9, 6)),
    Case("gcn, graph given", lambda: Gcn(False),
         lambda batch, size: (torch.randn(batch, size, 6), torch.rand(batch, size, size)), (9, 7)),
    Case("convlstm", ConvLstm, lambda batch, size: (torch.randn(batch, 3, 2, *size),),
         ((8, 6), (6, 10))),
    Case("shared layers", SharedLayers, words(30), (5, 8)),
    Case("unet", UNet, images(1), ((16, 20), (19, 22))),
    Case("pixel shuffle", Enlarger, images(), ((8, 10), (12, 8))),
    Case("standardised weights", lambda: nn.Sequential(
        StandardisedConv(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(),
        StandardisedConv(8, 8, 3, stride=2)), images(), ((9, 12), (12, 15))),
    Case("layer scale", lambda: nn.Sequential(nn.Conv2d(3, 12, 4, 4), LayerScaled(),
                                              LayerScaled()), images(), ((16, 20), (24, 16))),
    Case("squeeze and excite", SqueezeExcite, images(), ((12, 16), (16, 10))),
    Case("wavenet", WaveNet, lines(1), (16, 25)),
    Case("spiking unit", Snu, lambda batch, _: (
        torch.randn(batch, 8), torch.rand(batch, 12), (torch.rand(batch, 12) > 0.5).float())),
    Case("bilinear", Bilinear, lambda batch, _: (torch.randn(batch, 6), torch.randn(batch, 5))),
    *[Case(f"bag of words, {mode}", lambda mode=mode: Bags(mode), words(30), (6, 9))
      for mode in ("sum", "mean", "max")],
    Case("mixer", Mixer, images(), (16,)),
    Case("inception", Inception, images(), ((10, 12), (12, 9))),
    Case("autoencoder", Autoencoder, images(1), (8,)),
    Case("recommender", Recommender, _ratings),
    Case("capsules", Capsules, images(1), (12, 16)),
    Case("rotary", Rotary, series(24), (5, 9)),
    Case("sequence to sequence", Seq2Seq, lambda batch, size: (
        torch.randint(20, (batch, size)), torch.randint(25, (batch, size + 2))), (5, 8)),
    Case("crnn", Crnn, images(1), ((16, 24), (16, 40))),
    Case("actor and critic", Policy, vectors(6)),
    Case("kan", Kan, vectors(6)),
    Case("rare functions", Fusion, images(), ((10, 12), (12, 9))),
    Case("unfold and fold", Unfolded, images(), ((8, 10), (10, 7))),
    Case("shuffled channels", Shuffled, images(4), ((8, 10), (10, 7))),
    Case("selected steps", Selected, lambda batch, size: (
        torch.randn(batch, size, 5), _lengths(batch, size)), (6, 9)),
    Case("spectral norm and pruning", SpectralNorm, images(), ((8, 10), (10, 7))),
    Case("weights made in forward", Hyper, vectors(10)),
    Case("packed words", PackedClassifier, _packed, (6, 9)),
    Case("transformer of torch", lambda: nn.Transformer(
        num_encoder_layers=1, num_decoder_layers=1, **TORCH_TRANSFORMER),
        lambda batch, size: (torch.randn(batch, size, 16), torch.randn(batch, size + 1, 16)),
        (5, 8)),
    Case("encoder of torch", lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(**TORCH_TRANSFORMER, norm_first=True), 2,
        enable_nested_tensor=False), series(16), (5, 8)),
    Case("two lstm layers", lambda: nn.LSTM(8, 12, 2, bidirectional=True, batch_first=True),
         series(8), (5, 8)),
    Case("gru, time first", lambda: nn.GRU(8, 12, 2),
         lambda batch, size: (torch.randn(size, batch, 8),), (5, 8)),
]  # fmt: skip
