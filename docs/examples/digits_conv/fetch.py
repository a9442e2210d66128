"""Write digits.csv beside this file: 64 pixels from 0 to 16 and the label of each image."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
rows = np.column_stack([digits.data, digits.target])
np.savetxt(Path(__file__).parent / "digits.csv", rows, "%d", ",")
