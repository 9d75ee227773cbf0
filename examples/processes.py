"""What processes that share the cores have to say before they load numpy."""

from __future__ import annotations

import os

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def one_blas_thread() -> None:
    """One BLAS thread a process, where the environment says nothing else.

    The matrices are small, and pools of threads in several processes fight over the cores: they wait for each
    other more than they work. BLAS asks when numpy is loaded and never again, and forked processes have the
    pool of their parent: so this comes before the first import of numpy, or before processes are spawned.
    """
    for name in THREADS:
        os.environ.setdefault(name, "1")
