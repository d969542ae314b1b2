"""One thread for every test and the processes it starts.

The networks here are tiny: two threads would only wait for each other, and on a busy machine
they would wait a hundred times longer than they work.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
