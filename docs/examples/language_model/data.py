"""Cut a text into windows: 64 characters are the question, the next one is the answer."""

import numpy as np

WINDOW = 65
# 0: the newline, 1 to 95: printable ASCII, 96: any other byte
codes = np.full(256, 96, "u1")
codes[10], codes[32:127] = 0, np.arange(1, 96)
rows = codes[np.fromfile("text.txt", "u1")]
rows = rows[: len(rows) // WINDOW * WINDOW].reshape(-1, WINDOW)
np.save("questions.npy", rows[:, :-1])
np.save("answers.npy", rows[:, -1])
