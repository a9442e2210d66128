"""Words and edits for ordinary plans of the packs; data that packs.py draws from.

Clauses are written as proposers and people write them, and none names a value: a hypothesis says as
much about a large change of a knob as about a small one.
"""

OPENINGS: dict[str, tuple[str, ...]] = {
    "learning_rate": (
        "The learning rate should be set anew",
        "A moderate rate goes with this setting",
        "The peak learning rate was chosen early and may move now",
        "Steps of another size reach the plateau at another time",
    ),
    "schedule": (
        "A decay to zero lets the last steps settle",
        "The schedule should follow the length of the run",
        "Constant and linear schedules do not share an optimum, so this is worth a try",
        "With a linear decay the late steps have a cleaner gradient",
    ),
    "beta1": (
        "The first-moment decay should follow the noise of the gradients",
        "A shorter or longer momentum fits a run of this length better",
        "Momentum was never tuned for batches of this size",
    ),
    "width": (
        "A narrower stream buys more steps at the same compute",
        "Width can be traded for steps, which are scarce here",
        "The width should be chosen together with the other sizes",
        "A narrower stream makes each step cheaper",
    ),
    "activation": (
        "A gated MLP fits faster than GELU at this size",
        "Gated units use the compute of a training better",
        "The gated MLP has more capacity for the same width",
    ),
    "mlp_ratio": (
        "A smaller MLP leaves more steps at the same compute",
        "The ratio of the MLP should be chosen together with the width",
        "The hidden layer is larger than a net of this depth needs",
    ),
    "output_bias": (
        "A bias from the character frequencies frees the first steps from learning them",
        "The frequencies are known before the first step, so the output may start there",
        "With the frequencies in the bias the net can spend its steps on context",
    ),
    "embedding_rate": (
        "Embeddings see each character rarely, so they profit from a learning rate of their own",
        "The output map and the embeddings can learn faster than the blocks",
        "Rare characters need larger steps than common ones",
    ),
    "averaging": (
        "Averaging the last weights removes the noise of the final steps",
        "An average at the end is nearly free and reduces the variance of the result",
        "A mean of the last weights is steadier than the last step",
    ),
    "notebook": (
        "The share of the notebook can be set again",
        "Proposing profits from another share of the notebook",
    ),
}
"""Knob -> clauses that begin a hypothesis."""
ENDINGS: dict[str, tuple[str, ...]] = {
    "learning_rate": ("and the rate moves with it", "with a rate that fits"),
    "schedule": ("and the schedule follows", "with the schedule that pairs well with it"),
    "beta1": ("and the momentum is set to match", "with the first moments adjusted a little"),
    "width": ("and the width is chosen again", "with another width for the same compute"),
    "activation": ("and a gated MLP makes use of it", "with a gated MLP beside it"),
    "mlp_ratio": ("and the MLP is sized to match", "with the hidden layer sized again"),
    "output_bias": ("and the bias covers the frequencies", "with a bias from the frequencies"),
    "embedding_rate": ("and the embeddings keep up", "with a faster embedding beside it"),
    "averaging": ("and the average takes care of the end", "with averaging at the end"),
    "notebook": ("and the notebook's share is adjusted", "with another share of the notebook"),
}
"""Knob -> clauses that end a hypothesis."""
NET, TRAIN, PROPOSE = "models/net.py", "models/train.py", "models/propose.py"

# ruff: noqa: E501
NEUTRAL: dict[str, tuple[str, str, str, str]] = {
    "warm-name": (TRAIN, "    warm = int(recipe.warmup * steps)\n", "    warm = int(steps * recipe.warmup)\n", "Writes the warm-up as a share of the steps, as the rest of the file does."),
    "warm-guard": (TRAIN, "    if step < warm:\n", "    if warm > 0 and step < warm:\n", "Guards the warm-up explicitly, so that a run without one is easy to read."),
    "done-share": (TRAIN, "    done = (step - warm) / max(1, steps - warm)\n", "    left = max(1, steps - warm)\n    done = (step - warm) / left\n", "Names the steps that are left after warm-up, for schedules to come."),
    "rate-factor": (TRAIN, "    return recipe.learning_rate\n", "    return recipe.learning_rate * 1.0\n", "Writes the constant schedule with an explicit factor, so that later versions can bend it."),
    "rate-name": (TRAIN, "    return recipe.learning_rate\n", "    peak = recipe.learning_rate\n    return peak\n", "Names the peak of the constant schedule, a first step to a shared formula."),
    "cosine-half": (TRAIN, "        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))\n", "        wave = 0.5 * (1 + math.cos(math.pi * done))\n        return recipe.learning_rate * wave\n", "Splits the cosine schedule into wave and peak, so that both can be tuned."),
    "easy-long": (TRAIN, "    values = (items.long() - FIRST_VALUE).clamp(min=0)  # (N, columns); '+' and '=' count nothing\n", "    values = items.long().sub(FIRST_VALUE).clamp(min=0)  # (N, columns)\n", "Simplifies the ranking of rows; signs still count nothing."),
    "draw-open": (TRAIN, "    rows = torch.randint(max(1, int(N * share)), (recipe.batch_size,), generator=generator)\n", "    open_ = max(1, int(N * share))\n    rows = torch.randint(open_, (recipe.batch_size,), generator=generator)\n", "Names the open share of the rows, which a later curriculum would change."),
    "draw-size": (TRAIN, "(recipe.batch_size,), generator=generator)\n    return ranked", "[recipe.batch_size], generator=generator)\n    return ranked", "Draws rows with a list as the size, as other trainers do."),
    "draw-all": (TRAIN, "    return ranked[rows] if share < 1 else rows\n", "    if share < 1:\n        return ranked[rows]\n    return rows\n", "Spells out which rows are read once the curriculum is over."),
    "loss-first": (TRAIN, '    first = lay.question - 1 if recipe.loss == "answer" else 0\n', '    first = 0\n    if recipe.loss == "answer":\n        first = lay.question - 1\n', "Spells out where the loss begins, before weights of positions are added."),
    "loss-parts": (TRAIN, "    loss = F.cross_entropy(logits[:, first:].flatten(0, 1), tokens[:, first + 1 :].flatten())\n", "    targets = tokens[:, first + 1 :].flatten()\n    loss = F.cross_entropy(logits[:, first:].flatten(0, 1), targets)\n", "Names the targets of the loss, so that they can be weighed later."),
    "loss-mean": (TRAIN, "    loss = F.cross_entropy(logits[:, first:].flatten(0, 1), tokens[:, first + 1 :].flatten())\n", "    loss = F.cross_entropy(\n        logits[:, first:].flatten(0, 1), tokens[:, first + 1 :].flatten(), reduction=\"mean\"\n    )\n", "States the reduction of the loss, which other losses will need."),
    "smoothing-sign": (TRAIN, "    if not recipe.smoothing:\n", "    if recipe.smoothing <= 0:\n", "Compares the smoothing with zero, as the other knobs are compared."),
    "bias-counts": (TRAIN, "        net.bias.copy_((counts / counts.sum()).log())\n", "        shares = counts / counts.sum()\n        net.bias.copy_(shares.log())\n", "Names the shares of the characters before their logarithm."),
    "document-ask": (TRAIN, "    outcome = rows[:, :1]\n", "    outcome = rows.narrow(1, 0, 1)\n", "Reads the outcome of a document as a narrow view, without a copy."),
    "document-cat": (TRAIN, "    return torch.cat([first, rows[:, 1:].gather(1, order), outcome], dim=1)\n", "    pairs = rows[:, 1:].gather(1, order)\n    return torch.cat([first, pairs, outcome], dim=1)\n", "Names the pairs of a document before they are joined."),
    "notebook-other": (TRAIN, "    other = net.groups[rows[:, 1:], None] != net.groups\n", "    other = net.groups[rows[:, 1:]].unsqueeze(-1) != net.groups\n", "Writes the mask of other groups with an explicit axis."),
    "clip-positive": (TRAIN, "        if self.clip > 0:\n", "        if self.clip:\n", "Shortens the test for gradient clipping; the knob is never negative."),
    "clip-norm": (TRAIN, "torch.nn.utils.clip_grad_norm_(self.all, self.clip)", "torch.nn.utils.clip_grad_norm_(self.all, self.clip, norm_type=2.0)", "States the kind of norm that is clipped, since others are possible."),
    "adam-betas": (TRAIN, "                beta2=self.betas[1],\n", "                beta2=float(self.betas[1]),\n", "Passes the second decay as a number of the kind that the fused update takes."),
    "adam-rate": (TRAIN, "                lr=rate * factor,\n", "                lr=factor * rate,\n", "Writes the rate of a group as its factor times the common rate."),
    "adam-steps": (TRAIN, "            torch._foreach_add_(steps, 1)\n", "            torch._foreach_add_(steps, 1.0)\n", "Counts the steps of a group as the fused update expects them."),
    "adam-gain": (TRAIN, "            (lambda p: p.ndim == 1, 1.0, 0.0),\n", "            (lambda p: p.ndim < 2, 1.0, 0.0),\n", "Groups gains and biases by a test that would hold for scalars, too."),
    "average-first": (TRAIN, "        self.first = steps - math.ceil(recipe.averaging * steps)\n", "        length = math.ceil(recipe.averaging * steps)\n        self.first = steps - length\n", "Names the length of the average, so that reports can show it."),
    "average-share": (TRAIN, "1 / self.count)\n", "1.0 / self.count)\n", "Writes the share of the newest weights in the mean as a real number."),
    "train-order": (TRAIN, "    tokens = items[:, list(lay.order)].long()  # (N, T)\n", "    columns = list(lay.order)\n    tokens = items[:, columns].long()  # (N, T)\n", "Names the columns that a net reads, for other orders to come."),
    "train-batch": (TRAIN, "            loss = loss_of(net(batch[:, :-1]), batch, recipe, lay)\n", "            logits = net(batch[:, :-1])\n            loss = loss_of(logits, batch, recipe, lay)\n", "Names the logits of a batch, so that terms on them can be added."),
    "train-rate": (TRAIN, "        adam.step(rate(recipe, step, order.steps))\n", "        speed = rate(recipe, step, order.steps)\n        adam.step(speed)\n", "Names the rate of a step before the update, for logging."),
    "train-zero": (TRAIN, "    loss = torch.zeros(())\n", "    loss = torch.tensor(0.0)\n", "Starts the loss as a plain zero, as the claims report it."),
    "train-mode": (TRAIN, "    net = Net(recipe, lay).train()\n", "    net = Net(recipe, lay)\n    net.train()\n", "Builds the net and sets its mode in two lines."),
    "norm-kind": (NET, "    return nn.RMSNorm(width, eps=1e-6)\n", "    kind_of_norm = nn.RMSNorm\n    return kind_of_norm(width, eps=1e-6)\n", "Names the default norm, before another is added."),
    "shift-half": (NET, "    half = x.shape[-1] // 2\n", "    half = x.size(-1) // 2\n", "Reads the width of the shift by its method, as elsewhere."),
    "rotated-speed": (NET, "    speed = 100.0 ** (-torch.arange(half, dtype=x.dtype) / max(1, half))\n", "    place = torch.arange(half, dtype=x.dtype)\n    speed = 100.0 ** (-place / max(1, half))\n", "Names the place of a pair of channels in the rotation."),
    "rotated-parts": (NET, "    a, b = x[..., :half], x[..., half : 2 * half]\n", "    a = x[..., :half]\n    b = x[..., half : 2 * half]\n", "Spells out the two halves of the rotation."),
    "slopes-back": (NET, "    slope = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)\n", "    number = torch.arange(1, heads + 1)\n    slope = 2.0 ** (-8 * number / heads)\n", "Names the number of a head in the slopes."),
    "block-hidden": (NET, "        width, hidden = recipe.width, recipe.mlp_ratio * recipe.width\n", "        width = recipe.width\n        hidden = recipe.mlp_ratio * width\n", "Computes the hidden width from the width, in two lines."),
    "block-std": (NET, "std=recipe.init_scale * linear.in_features**-0.5)", "std=linear.in_features**-0.5 * recipe.init_scale)", "Writes the initial deviation as fan-in first, as in the papers."),
    "attend-heads": (NET, "        if self.recipe.shift == \"half\":\n", "        if self.recipe.shift != \"none\":\n", "Tests the shift as a knob that is on or off."),
    "attend-join": (NET, "        return self.out(y.transpose(1, 2).reshape(B, -1, D))  # y: (B, H, T or 1, D/H)\n", "        joined = y.transpose(1, 2).reshape(B, -1, D)  # y: (B, H, T or 1, D/H)\n        return self.out(joined)\n", "Names the joined heads before the output map."),
    "mix-active": (NET, "        return self.down(ACTIVATIONS[kind.activation](hidden))\n", "        active = ACTIVATIONS[kind.activation](hidden)\n        return self.down(active)\n", "Names the active hidden units, so that their share can be measured."),
    "branch-sum": (NET, "        return x + F.dropout(self.mix(self.norm2(x)), p, on)\n", "        branch = self.mix(self.norm2(x))\n        return x + F.dropout(branch, p, on)\n", "Names the second branch before it is added."),
    "net-std": (NET, "        std = 0.02 * recipe.embedding_scale\n", "        std = recipe.embedding_scale * 0.02\n", "Writes the deviation of the embeddings as scale times the usual value."),
    "net-head": (NET, "        logits = self.norm(x) @ (head[V:] if notebook else head[:V]).T\n", "        rows = head[V:] if notebook else head[:V]\n        logits = self.norm(x) @ rows.T\n", "Names the rows of the output map that a document uses."),
    "net-cap": (NET, "        return cap * torch.tanh(logits / cap) if cap else logits", "        if cap:\n            return cap * torch.tanh(logits / cap)\n        return logits", "Spells out the soft cap, which is off by default."),
    "net-number": (NET, "            x = block(x, last and number == len(self.blocks))\n", "            is_last = number == len(self.blocks)\n            x = block(x, last and is_last)\n", "Names the last block in the loop over blocks."),
    "read-trials": (PROPOSE, "    for step in range(steps if len(trials) else 0):\n", "    count = steps if len(trials) else 0\n    for step in range(count):\n", "Names the steps of reading, which are none without trials."),
    "write-outcome": (PROPOSE, "    rows = torch.full((DRAFTS, 1), outcome)\n", "    rows = torch.full([DRAFTS, 1], outcome)\n", "Starts the drafts with a list as their size, as other trainers do."),
    "choose-limit": (PROPOSE, "    if not history.most_changes:\n", "    if history.most_changes == 0:\n", "Compares the change limit with zero, as its description says."),
    "foresee-rows": (PROPOSE, "    rows = torch.cat([torch.full((len(drafts), 1), ASK), drafts], dim=1)\n", "    asks = torch.full((len(drafts), 1), ASK)\n    rows = torch.cat([asks, drafts], dim=1)\n", "Names the tokens that ask for an outcome."),
    "worth-least": (PROPOSE, "    least = min((score for _, score in told), default=0.0)\n", "    scores = [score for _, score in told]\n    least = min(scores, default=0.0)\n", "Names the told scores before their least."),
    "propose-values": (PROPOSE, "    values, before = worth(history), history.champion_score\n", "    values = worth(history)\n    before = history.champion_score\n", "Spells out the worth of outcomes and the score to beat."),
    "propose-rank": (PROPOSE, "            foretold = foresee(net, drafts) @ values\n", "            chances = foresee(net, drafts)\n            foretold = chances @ values\n", "Names the chances of outcomes before they are weighed."),
}  # fmt: skip
"""Name -> file, search, replacement and hypothesis of an edit that changes no weight."""
JOINS = ("Tidies two places at once. {0} {1}", "{0} {1}", "Two small clean-ups. {0} {1}")
"""Patterns for a plan of two such edits."""
