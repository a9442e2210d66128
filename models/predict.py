"""Predict with a pristine net: weights and questions in, answer tokens and probabilities out. No
answers come near.

Reads IN/job.json, IN/weights.safetensors, IN/questions.safetensors (`questions`, uint8 (N,
question), canonical order); writes OUT/predictions.safetensors: `tokens` uint8 (N, answer) and
`probabilities` float32 (N, answer, vocabulary), both in canonical column order, decoded greedily
and conditioned on the net's own tokens. Refuses weights whose names, shapes or type are not the
net's.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.job import Order
from configs.tokens import layout
from models.net import Net


def fit(net: Net, path: Path) -> None:
    """Load weights into the net; raise BadInput unless names, shapes and type are exactly the
    net's.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{path.name} is unreadable: {str(error)[:120]}; it should be a safetensors file"
        ) from None
    wanted = net.state_dict()
    if found.keys() != wanted.keys():
        odd = ", ".join(sorted(found.keys() ^ wanted.keys()))[:120]
        raise BadInput(
            f"{path.name} lacks or adds the names {odd}; it should have the net's {len(wanted)}"
        )
    for name, want in wanted.items():
        have, right = (f"{t.dtype} {list(t.shape)}" for t in (found[name], want))
        if have != right:
            raise BadInput(f"{path.name}: {name} is {have}; it should be {right}")
    net.load_state_dict(found)


@torch.no_grad()
def main(source: Path, target: Path) -> None:
    """Load, decode column by column, write."""
    torch.set_num_threads(1)
    order = parse(Order, strict_json((source / "job.json").read_bytes()))
    lay = layout(order.task, order.recipe)
    net = Net(order.recipe, lay).eval()
    fit(net, source / "weights.safetensors")
    questions = load_file(source / "questions.safetensors")["questions"].long()
    N, Q, A = len(questions), lay.question, lay.answer
    tokens = torch.zeros(N, Q + A, dtype=torch.long)
    tokens[:, :Q] = questions[:, list(lay.order[:Q])]
    answers = torch.zeros(N, A, dtype=torch.uint8)
    probabilities = torch.zeros(N, A, lay.vocabulary)
    for i in range(A):
        p = torch.cat(
            [net(part, last=True)[:, -1] for part in tokens[:, : Q + i].split(256)]
        ).softmax(-1)  # (N, V)
        tokens[:, Q + i] = p.argmax(-1)
        column = lay.answers[i]
        answers[:, column], probabilities[:, column] = tokens[:, Q + i].to(torch.uint8), p
    save_file(
        {"tokens": answers, "probabilities": probabilities}, target / "predictions.safetensors"
    )
