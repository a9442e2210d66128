"""Train the net on data/ and leave out/weights.safetensors."""

import os

import numpy as np
import torch
import torch.nn.functional as F
from model import images, net
from safetensors.torch import save_file

STEPS = 200


# region: schedule
def rate(done):
    """Learning rate after a share of the steps."""
    return 0.005 * (1 - done)


# endregion


# region: order
def draw(count):
    """Rows of a batch."""
    return torch.randint(count, (32,))


# endregion


# region: loss
def loss_of(scores, labels):
    return F.cross_entropy(scores, labels, label_smoothing=0.0)


# endregion


torch.set_num_threads(1)
torch.manual_seed(int(os.environ["HEIRLOOP_SEED"]))
device = "cuda" if torch.cuda.is_available() else "cpu"
pixels, labels = images().to(device), torch.from_numpy(np.load("data/answers.npy")[:, 0]).long()
labels, model = labels.to(device), net().to(device)
adam = torch.optim.Adam(model.parameters())
for step in range(STEPS):
    for group in adam.param_groups:
        group["lr"] = rate(step / STEPS)
    rows = draw(len(pixels))
    adam.zero_grad()
    loss_of(model(pixels[rows]), labels[rows]).backward()
    adam.step()
save_file(model.state_dict(), "out/weights.safetensors")
