"""A decoder-only transformer over tokens. By default: RMSNorm before each branch, causal attention,
GELU MLP, tied output; a recipe chooses other parts.

Init: embeddings N(0, 0.02), linear maps N(0, 1/sqrt(fan_in)), maps that write into the residual
stream scaled by 1/sqrt(2 depth) more (GPT-2), gains 1, shortcut and biases 0. `configs.cost
.parameters` counts the weights. A net has the tokens of the task, and a proposing net those of the
notebook behind them. A document is of a single kind. Letters: B batch, T tokens, D width, H heads,
V vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.recipe import Recipe
from configs.tokens import Layout

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


def normalise(kind: str, width: int) -> nn.Module:
    """Return a norm with a gain per channel and no bias."""
    if kind == "layer":
        return nn.LayerNorm(width, eps=1e-6, bias=False)
    return nn.RMSNorm(width, eps=1e-6)


def shifted(x: Tensor) -> Tensor:
    """Return (B, T, D) with the first half of the channels taken from the token before."""
    half = x.shape[-1] // 2
    return torch.cat([F.pad(x[:, :-1, :half], (0, 0, 1, 0)), x[..., half:]], dim=-1)


def rotated(x: Tensor) -> Tensor:
    """Return queries or keys (B, H, T, D/H), pairs of channels turned by an angle that grows with
    the position.
    """
    T, half = x.shape[2], x.shape[3] // 2
    speed = 100.0 ** (-torch.arange(half, dtype=x.dtype) / max(1, half))
    angle = torch.arange(T, dtype=x.dtype)[:, None] * speed  # (T, D/2H)
    a, b = x[..., :half], x[..., half : 2 * half]
    turned = [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
    return torch.cat([*turned, x[..., 2 * half :]], dim=-1)


def slopes(heads: int, T: int) -> Tensor:
    """Return what the attention's logits lose with distance, (H, T, T), causal: a slope per
    head.
    """
    slope = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
    back = torch.arange(T)[:, None] - torch.arange(T)  # query minus key
    return torch.where(back < 0, -math.inf, -slope[:, None, None] * back)


class Block(nn.Module):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        width, hidden = recipe.width, recipe.mlp_ratio * recipe.width
        self.recipe = recipe
        self.norm1, self.norm2 = normalise(recipe.norm, width), normalise(recipe.norm, width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, hidden * (1 + (recipe.activation == "swiglu")), bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        for linear in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(linear.weight, std=recipe.init_scale * linear.in_features**-0.5)
        with torch.no_grad():
            self.out.weight *= recipe.residual_scale * (2 * recipe.depth) ** -0.5
            self.down.weight *= recipe.residual_scale * (2 * recipe.depth) ** -0.5

    def attend(self, x: Tensor, last: bool) -> Tensor:  # (B, T, D) -> (B, T or 1, D)
        (B, T, D), H = x.shape, self.recipe.heads
        if self.recipe.shift == "half":
            x = shifted(x)
        q, k, v = self.qkv(x).view(B, T, 3, H, D // H).permute(2, 0, 3, 1, 4)
        if self.recipe.query_norm == "rms":
            q, k = (F.rms_norm(part, (D // H,), eps=1e-6) for part in (q, k))
        if self.recipe.position == "rotary":
            q, k = rotated(q), rotated(k)
        bias = slopes(H, T) if self.recipe.position == "slopes" else None
        if last:
            q, bias = q[:, :, -1:], bias if bias is None else bias[:, -1:]
        causal = bias is None and not last
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal)
        return self.out(y.transpose(1, 2).reshape(B, -1, D))  # y: (B, H, T or 1, D/H)

    def mix(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        hidden, kind = self.up(x), self.recipe
        if kind.activation == "swiglu":
            gate, value = hidden.chunk(2, dim=-1)
            return self.down(F.silu(gate) * value)
        if kind.activation == "relu2":
            return self.down(F.relu(hidden).square())
        return self.down(ACTIVATIONS[kind.activation](hidden))

    def forward(
        self, x: Tensor, last: bool = False
    ) -> Tensor:  # (B, T, D) -> (B, T, D), or (B, 1, D) of the last token
        p, on, kept = self.recipe.dropout, self.training, x[:, -1:] if last else x
        if self.recipe.norm_place == "after":
            x = self.norm1(kept + F.dropout(self.attend(x, last), p, on))
            return self.norm2(x + F.dropout(self.mix(x), p, on))
        x = kept + F.dropout(self.attend(self.norm1(x), last), p, on)
        return x + F.dropout(self.mix(self.norm2(x)), p, on)


class Net(nn.Module):
    def __init__(self, recipe: Recipe, lay: Layout) -> None:
        super().__init__()
        D, T = recipe.width, lay.length
        self.recipe, self.vocabulary, self.book = recipe, lay.vocabulary, lay.book
        self.groups = torch.tensor(lay.book.groups if lay.book else (), dtype=torch.long)
        self.token = nn.Embedding(lay.vocabulary + lay.notebook, D)
        self.position = nn.Embedding(T, D) if recipe.position == "learned" else None
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.depth))
        self.norm = normalise(recipe.norm, D)
        std = 0.02 * recipe.embedding_scale
        nn.init.normal_(self.token.weight, std=std)
        if self.position is not None:
            nn.init.normal_(self.position.weight, std=std)
        self.head = self.bias = self.bigram = None
        if recipe.output == "free":
            self.head = nn.Parameter(torch.randn(lay.vocabulary + lay.notebook, D) * D**-0.5)
        if recipe.output_bias != "none":
            self.bias = nn.Parameter(torch.zeros(lay.vocabulary))
        if recipe.shortcut == "bigram":
            self.bigram = nn.Parameter(torch.zeros(lay.vocabulary, lay.vocabulary))

    def forward(
        self, tokens: Tensor, notebook: bool = False, last: bool = False
    ) -> Tensor:  # (B, T) -> logits (B, T, V), or (B, 1, V) of the last token: the task's tokens
        # or the notebook's
        x = self.token(tokens)
        if self.position is not None:
            x = x + self.position.weight[: tokens.shape[1]]
        for number, block in enumerate(self.blocks, 1):
            x = block(x, last and number == len(self.blocks))
        head, V = self.token.weight if self.head is None else self.head, self.vocabulary
        logits = self.norm(x) @ (head[V:] if notebook else head[:V]).T
        if not notebook and self.bias is not None:
            logits = logits + self.bias
        if not notebook and self.bigram is not None:
            logits = logits + self.bigram[tokens[:, -1:] if last else tokens]
        cap = self.recipe.logit_cap
        return cap * torch.tanh(logits / cap) if cap else logits
