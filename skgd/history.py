"""The history of a training, with one entry per epoch or call of ``partial_fit``, and how it is printed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from skgd.engines import EpochSummary

_KEYS = (
    "objective",
    "loss",
    "gradient_norm",
    "learning_rate",
    "validation_loss",
    "validation_score",
    "suboptimality",
    "seconds",
)


@cache
def history_keys(n_layers: int) -> tuple[str, ...]:
    """Return what the history holds of a model with so many layers."""
    by_layer = (f"gradient_norm_layer_{number}" for number in range(1, n_layers + 1))
    return _KEYS if n_layers < 2 else (*_KEYS, *by_layer)


STREAM_HISTORY = 1000  # calls of ``partial_fit``: without a bound, months of a stream would fill the memory


def bounded(history: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return the history itself or, where it has come to twice the length that a stream keeps, its latest entries."""
    if len(history["objective"]) < 2 * STREAM_HISTORY:
        return history
    return {key: values[-STREAM_HISTORY:] for key, values in history.items()}


def entry_of(summary: EpochSummary, *of_run: Any) -> dict[str, float]:
    """Return one epoch's entry of the history; what follows its summary is as for `entry_from`."""
    return entry_from(summary.loss, summary.penalty, summary.squared_norms, *of_run)


def entry_from(
    loss: float,
    penalty: float,
    squares: Sequence[float],
    rate: float,
    started: float,
    validated: tuple[float, float] = (math.nan, math.nan),
    suboptimality: float = math.nan,
) -> dict[str, float]:
    """Return one epoch's entry of the history.

    ``squares`` are the squared norms of the layers' gradients, ``validated`` the loss and the score of the validation
    set.
    """
    norm, seconds = math.sqrt(sum(squares)), time.perf_counter() - started
    values: tuple[float, ...] = loss + penalty, loss, norm, float(rate), *validated, suboptimality, seconds
    if len(squares) > 1:
        values = *values, *map(math.sqrt, squares)
    return dict(zip(history_keys(len(squares)), values, strict=True))


def append(history: dict[str, list[float]], entry: dict[str, float]) -> None:
    """Add one epoch's entry to the history, which an earlier release may have begun with fewer keys."""
    if not history.keys() >= entry.keys():
        history |= {key: [math.nan] * len(history["objective"]) for key in entry if key not in history}
    for key, value in entry.items():
        history[key].append(value)


def drop_unfinished(history: dict[str, list[float]]) -> None:
    """Remove what an interrupt has left of an entry."""
    shortest = min(map(len, history.values()))
    for values in history.values():
        del values[shortest:]


def print_entry(epoch: int, entry: dict[str, float], header: bool) -> None:
    """Print an epoch's entry as a line of a table, without the columns of a validation set where there is none."""
    shown = {key: value for key, value in entry.items() if value == value and key != "suboptimality"}
    if header:
        print("epoch" + "".join(f"  {key:>{_width(key)}}" for key in shown))
    print(f"{epoch:>5d}" + "".join(f"  {value:>{_width(key)}.4g}" for key, value in shown.items()))


def print_ending(reason: str, suboptimality: float) -> None:
    """Print why training has ended, and how far from the minimum, where that is known."""
    known = "" if math.isnan(suboptimality) else f", suboptimality {suboptimality:.2g}"
    print(f"ended: {reason}{known}")


def _width(key: str) -> int:
    """Return the width of a column: that of its title, or of the longest number with four digits, -1.234e-100."""
    return max(len(key), 11)
