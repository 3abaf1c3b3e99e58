"""SynthViT: a small vision transformer whose layers have the names of timm's."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.modelzoo.synthnet.data import LABELS
from lucent.modelzoo.synthnet.model import SPEC as SYNTHNET

# The images are those of SynthNet, so their size, normalisation, labels and colours are, too.
SPEC = replace(
    SYNTHNET,
    name="synthvit",
    fixed_size=True,
    # Of 1 and 1.5 the one whose pictures `python -m benchmarks.quality` scores better.
    decay_power=1.0,
    sha256="59556c6a2317d92c0bfd0fe04d79e3bcd1475abdb55e3d1d936c6884020f52bb",
)

PATCH = 12
# Chosen so that the weights stay under 2 MB in float16.
WIDTH, DEPTH, HEADS, EXPANSION = 128, 4, 4, 4


class PatchEmbed(nn.Module):
    """Patches of the image as tokens (B, N, C): a convolution whose stride is its kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention; `softmax` gives the attention maps, shape (B, heads, queries, keys)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.softmax = nn.Softmax(dim=-1)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        heads = self.qkv(tokens).reshape(batch, count, 3, HEADS, width // HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-2, -1) * (width // HEADS) ** -0.5
        mixed = self.softmax(scores) @ value
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class Mlp(nn.Module):
    """Two linear layers on every token; `act` gives the hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, EXPANSION * WIDTH)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(EXPANSION * WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(tokens)))


class Block(nn.Module):
    """Transformer block with its norms in front."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = Mlp()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class SynthViT(nn.Module):
    """Vision transformer for the 28 classes of `synthnet.data.LABELS`, RGB images of 96 px.

    The input is normalised by the model's spec. Tokens are the class token, then the 8 x 8
    patches row by row; the output are class logits, shape (B, 28).

    Raises:
        InputError: the image is not 96 x 96.

    >>> SynthViT()(torch.zeros(1, 3, 96, 96)).shape
    torch.Size([1, 28])
    """

    spec = SPEC

    def __init__(self) -> None:
        super().__init__()
        self.side = (SPEC.image_size or 96) // PATCH
        self.patch_embed = PatchEmbed()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.side**2, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(LABELS))
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Start small, and with waves for positions: nearby patches are alike from the start."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        # Four waves of each of WIDTH / 4 wavelengths, as in "Attention is all you need".
        rates = 10_000 ** -torch.linspace(0, 1, WIDTH // 4)
        place = torch.arange(self.side)[:, None] * rates
        waves = torch.cat([place.sin(), place.cos()], dim=1)
        rows = waves[:, None].expand(-1, self.side, -1)
        columns = waves[None].expand(self.side, -1, -1)
        self.pos_embed[0, 1:] = 0.3 * torch.cat([rows, columns], dim=-1).flatten(0, 1)

    def forward(self, image: Tensor) -> Tensor:
        side = self.side * PATCH
        if image.shape[-2:] != (side, side):
            raise InputError(
                f"SynthViT looks at images of {side} x {side} pixels; got {tuple(image.shape)}. "
                f"Resize them first: torch.nn.functional.interpolate(image, size=({side}, {side}))."
            )
        patches = self.patch_embed(image)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return self.head(self.norm(self.blocks(tokens + self.pos_embed))[:, 0])
