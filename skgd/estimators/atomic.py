"""Training that changes an estimator altogether, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np


class Atomic:
    """Leave an estimator exactly as it was if anything raises: training replaces attributes, never edits them.

    One thing grows in place: the history of a stream, because copying it would take longer than a step. What the
    caller has NumPy do about overflow and the like is none of our business meanwhile.
    """

    __slots__ = ("_before", "_errors", "_estimator", "_n_entries")

    def __init__(self, estimator: Any):
        self._estimator, self._errors = estimator, np.errstate(all="ignore")

    def __enter__(self) -> None:
        self._before: dict[str, Any] = vars(self._estimator).copy()
        history = self._before.get("history_")
        self._n_entries = len(history["objective"]) if history else 0
        self._errors.__enter__()

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        self._errors.__exit__(kind, *error)
        if kind is not None:
            self._estimator.__dict__ = self._before  # all at once, as what training publishes
            for values in self._before.get("history_", {}).values():
                del values[self._n_entries :]
