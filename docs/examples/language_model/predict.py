"""Let a checkpoint of train.py predict the next character of each window."""

import numpy as np
import torch
from train import GPT, GPTConfig

torch.set_num_threads(1)
checkpoint = torch.load("out/ckpt.pt", weights_only=True)
model = GPT(GPTConfig(**checkpoint["config"]))
model.load_state_dict(checkpoint["model"])
model.eval()
asked = torch.from_numpy(np.load("data/questions.npy").astype(np.int64))
with torch.no_grad():
    parts = [model(part)[0][:, -1].softmax(-1) for part in asked.split(256)]
np.save("predictions.npy", torch.cat(parts).numpy())
