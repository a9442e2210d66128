"""A decoder-only transformer over tokens: RMSNorm before each branch, causal attention, GELU MLP,
tied output.

Init: token embedding N(0, 0.02), position embedding N(0, 0.02), linear maps N(0, 1/sqrt(fan_in)),
maps that write into the residual stream scaled by 1/sqrt(2 depth) more (GPT-2), gains 1.
`configs.cost.parameters` counts the weights. A net has the tokens of the task, and a proposing net
those of the notebook behind them. A document is of a single kind. Letters: B batch, T tokens, D
width, H heads, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.recipe import Recipe
from configs.tokens import DOCUMENT, Layout


class Block(nn.Module):
    def __init__(self, width: int, heads: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        for linear in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        with torch.no_grad():
            self.out.weight *= (2 * depth) ** -0.5
            self.down.weight *= (2 * depth) ** -0.5

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        B, T, D = x.shape
        q, k, v = (
            self.qkv(self.norm1(x))
            .view(B, T, 3, self.heads, D // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D/H)
        x = x + F.dropout(self.out(y.transpose(1, 2).reshape(B, T, D)), self.dropout, self.training)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)))), self.dropout, self.training)


class Net(nn.Module):
    def __init__(self, recipe: Recipe, lay: Layout) -> None:
        super().__init__()
        D, T = recipe.width, max(len(lay.order), DOCUMENT if lay.notebook else 0)
        self.vocabulary = lay.vocabulary
        self.token = nn.Embedding(lay.vocabulary + lay.notebook, D)
        self.position = nn.Embedding(T, D)
        self.blocks = nn.ModuleList(
            Block(D, recipe.heads, recipe.depth, recipe.dropout) for _ in range(recipe.depth)
        )
        self.norm = nn.RMSNorm(D, eps=1e-6)
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(
        self, tokens: Tensor, notebook: bool = False
    ) -> Tensor:  # (B, T) -> logits (B, T, V), of the task's tokens or the notebook's
        T = tokens.shape[1]
        x = self.token(tokens) + self.position.weight[:T]
        for block in self.blocks:
            x = block(x)
        head = (
            self.token.weight[self.vocabulary :]
            if notebook
            else self.token.weight[: self.vocabulary]
        )
        return self.norm(x) @ head.T
