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
    n_entries = len(before.get("history_", {}).get("objective", ()))
    try:
        with np.errstate(all="ignore"):
            yield
    except BaseException:
        restore(estimator, before, n_entries)
        raise


def restore(estimator: Any, attributes: dict[str, Any], n_entries: int) -> None:
    """Give the estimator the attributes that it had, and its history as many entries."""
    estimator.__dict__ = attributes  # all at once, as what training publishes
    for values in attributes.get("history_", {}).values():
        del values[n_entries:]
