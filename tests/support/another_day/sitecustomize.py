"""Lets a process believe it is another day. Python runs this at start when the folder is on PYTHONPATH.

Shifts the wall clock by the environment's CLOCK_SHIFT_SECS; the monotonic clock, and so every timeout, stays true.
"""

import os
import time

shift_secs = int(os.environ.get("CLOCK_SHIFT_SECS", "0"))
if shift_secs:
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + shift_secs
    time.time_ns = lambda: true_time_ns() + shift_secs * 1_000_000_000
