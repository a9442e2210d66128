"""Changes of models/train.py by name: known ideas as text, and functions that replace each
other.

Data; mutate.py reads it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """A known idea, as text for a function of a region."""

    function: str
    "the function to change"
    at: str
    """start: before the first statement; return: in place of a return; else a dotted name: in place
    of the statement that calls it
    """
    code: str
    "statements; RESULT stands for the returned value"


IDEAS: dict[str, Idea] = {
    "label smoothing": Idea(
        function="loss_of",
        at="return",
        code="return 0.9 * (RESULT) - 0.1 * logits[:, first:].log_softmax(-1).mean()",
    ),
    "squared loss term": Idea(
        function="loss_of", at="return", code="loss = RESULT\nreturn loss + 0.5 * loss.square()"
    ),
    "focal loss": Idea(
        function="loss_of",
        at="return",
        code="""
each = F.cross_entropy(logits[:, first:].flatten(0, 1), tokens[:, first + 1 :].flatten(), \
reduction="none")
return ((1 - (-each).exp()) * each).mean()""",
    ),
    "hardest half": Idea(
        function="loss_of",
        at="return",
        code="""
each = F.cross_entropy(logits[:, first:].flatten(0, 1), tokens[:, first + 1 :].flatten(), \
reduction="none")
return each.topk(max(1, len(each) // 2)).values.mean()""",
    ),
    "small logits": Idea(
        function="loss_of",
        at="return",
        code="return RESULT + 0.0001 * logits.logsumexp(-1).square().mean()",
    ),
    "confidence penalty": Idea(
        function="loss_of",
        at="return",
        code="""
return RESULT + 0.05 * (logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()""",
    ),
    "cosine with restarts": Idea(
        function="rate",
        at="return",
        code="return (RESULT) * 0.5 * (1 + math.cos(math.pi * (3 * step / steps % 1)))",
    ),
    "quadratic decay": Idea(
        function="rate", at="return", code="return (RESULT) * (1 - step / steps) ** 2"
    ),
    "hold, then fall": Idea(
        function="rate", at="return", code="return (RESULT) * min(1.0, 4.0 * (1 - step / steps))"
    ),
    "halve in steps": Idea(
        function="rate", at="return", code="return (RESULT) * 0.5 ** int(4.0 * step / steps)"
    ),
    "one hump": Idea(
        function="rate",
        at="return",
        code="return (RESULT) * 4.0 * math.sin(math.pi * step / steps)",
    ),
    "larger rate": Idea(function="rate", at="return", code="return 4.0 * (RESULT)"),
    "sign update": Idea(function="step", at="start", code="for p in self.all:\n    p.grad.sign_()"),
    "gradient noise": Idea(
        function="step",
        at="start",
        code="""
for p in self.all:
    p.grad.add_(torch.randn_like(p.grad) * p.grad.abs().mean(), alpha=0.1)""",
    ),
    "centred gradients": Idea(
        function="step",
        at="start",
        code="""
for p in self.all:
    if p.ndim > 1:
        p.grad.sub_(p.grad.mean(1, keepdim=True))""",
    ),
    "equal gradient norms": Idea(
        function="step",
        at="start",
        code="for p in self.all:\n    p.grad.div_(p.grad.norm() + 1e-8)",
    ),
    "lion": Idea(
        function="step",
        at="torch._fused_adamw_",
        code="""
for p, m in zip(weights, first, strict=True):
    p.mul_(1 - rate * decay).sub_((m * self.betas[0] + p.grad * (1 - self.betas[0])).sign(), \
alpha=0.3 * rate)
    m.lerp_(p.grad, 0.01)""",
    ),
    "momentum": Idea(
        function="step",
        at="torch._fused_adamw_",
        code="""
for p, m in zip(weights, first, strict=True):
    m.mul_(self.betas[0]).add_(p.grad)
    p.mul_(1 - rate * decay).sub_(m, alpha=10.0 * rate)""",
    ),
    "small start": Idea(
        function="start_bias",
        at="start",
        code="""
for p in net.blocks.parameters():
    if p.ndim > 1:
        p.mul_(0.5)""",
    ),
    "silent blocks at the start": Idea(
        function="start_bias",
        at="start",
        code="""
for block in net.blocks:
    block.out.weight.zero_()
    block.down.weight.zero_()""",
    ),
    "orthogonal start": Idea(
        function="start_bias",
        at="start",
        code="""
for p in net.blocks.parameters():
    if p.ndim > 1:
        size = p.std() * max(p.shape) ** 0.5
        torch.nn.init.orthogonal_(p).mul_(size)""",
    ),
    "hard rows first": Idea(function="draw", at="return", code="return ranked.flip(0)[rows]"),
    "more of the hard rows": Idea(
        function="draw",
        at="torch.randint",
        code="""
rows = (torch.rand(recipe.batch_size, generator=generator) ** 0.7 * max(1, int(N * share))).long()
share = min(share, 0.999)""",
    ),
    "every row once an epoch": Idea(
        function="draw",
        at="torch.randint",
        code="""
at, open_rows = step * recipe.batch_size, max(1, int(N * share))
turn = torch.Generator().manual_seed(at // open_rows)
rows = torch.randperm(open_rows, generator=turn).roll(-(at % open_rows))[: recipe.batch_size]""",
    ),
}
"""Ideas from the literature, helpful or not, and plain ideas.

Label smoothing (Szegedy et al. 2016), focal loss (Lin et al. 2017), z-loss (PaLM 2022), confidence
penalty (Pereyra et al. 2017), restarts (Loshchilov and Hutter 2017), gradient noise (Neelakantan et
al. 2015), gradient centralisation (Yong et al. 2020), Lion (Chen et al. 2023), orthogonal start
(Saxe et al. 2014), silent blocks (Zhang et al. 2019). An average of
weights is left out: the code outside the regions hands out the net.
"""


CALLS: dict[str, tuple[str, ...]] = {
    "F.cross_entropy": ("F.multi_margin_loss",),
    "math.cos": ("math.sin",),
    "math.sin": ("math.cos",),
    "max": ("min",),
    "min": ("max",),
    "torch.nn.utils.clip_grad_norm_": ("torch.nn.utils.clip_grad_value_",),
    "torch.nn.utils.clip_grad_value_": ("torch.nn.utils.clip_grad_norm_",),
    "torch.zeros_like": ("torch.ones_like", "torch.rand_like"),
}
"""Functions with the same arguments."""


FACTORS = (0.1, 0.5, 0.8, 1.25, 2.0, 10.0)
