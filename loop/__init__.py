"""What happens next: plan, propose, cycle, measure, report. It decides the order and owns no
power.
"""

import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # before numpy: threads on such short vectors wait for each other, and take cores from jobs
