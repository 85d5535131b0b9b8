"""Training that changes an estimator altogether, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def atomic(estimator: Any) -> Iterator[None]:
    """Leave the estimator exactly as it was if anything raises: training replaces attributes, never edits them.

    One thing grows in place: the history of a stream, because copying it would take longer than a step. Meanwhile,
    NumPy ignores overflow and the like, whatever the caller's ``errstate``.
    """
    before = vars(estimator).copy()
    history = before.get("history_", {})
    n_entries = len(history.get("objective", ()))
    try:
        with np.errstate(all="ignore"):
            yield
    except BaseException:
        estimator.__dict__ = before  # all at once, as what training publishes
        for values in history.values():
            del values[n_entries:]
        raise
