"""Every image once: the pixels are the question, the label is the answer."""

import numpy as np

rows = np.loadtxt("digits.csv", delimiter=",").astype("u1")
np.save("questions.npy", rows[:, :-1])
np.save("answers.npy", rows[:, -1])
