"""The table of a wide stream: what is known of each column lies side by side, so that a row costs its entries.

A table is changed in place, and remembers what the last call has changed: a call that fails is undone, and whoever
still holds the state before it, another thread say, sees that.

Its functions are elementwise. They take numbers, or arrays with one for each feature, and serve the compiled loop too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from skgd.coordinates import rarity, wide_coordinates
from skgd.measuring import Measures, choose, nonzero, variance_of

# Of each feature: the weight of the samples that have it, its largest absolute value, in units of that the sum and the
# sum of squares, the clock of the penalty when it was last seen, and the step that last saw it, negative unless it is
# centered (0 where that is not known). Then come the coefficients and the slots, by output, and where an average of the
# iterates is kept the distances of the coefficients from it, divided by LEFT.
COUNT, LARGEST, SUM, SQUARES, TIME, SEEN = range(6)
N_STATISTICS = 6
# Of the stream: samples and their weight, the sum of their squared norms, the weight of all entries, of those in
# features that most samples do not have, and of these in indicators; the clock of the penalty, which adds up the
# learning rates (times the default penalty), or counts the steps if the optimizer repeats them; the penalty, in the
# user's units and by its worth; the last learning rate; and the share of what was before any average that is left in
# it. Then come the intercepts, their slots, the measures of the targets, and the distances from the average.
ROWS, WEIGHT, NORMS, ENTRIES, FEW, INDICATED, CLOCK, PENALTY, OF_WORTH, RATE, LEFT = range(11)
N_NUMBERS = 11
SOON = 20  # rows, before which no column is centered
MOST_LARGEST = 1e150  # largest values of a feature in its scale, whose square is a number


def with_entry(known: Any, value: Any, weight: Any) -> Any:
    """Return count, largest value, sum and sum of squares of a feature with one more value."""
    count, largest, total, squares = known
    size = np.abs(value)
    unit = choose(size > largest, size, largest)
    shrink, z = choose(largest < unit, largest / nonzero(unit), 1.0), value / nonzero(unit)
    added = (size > 0.0) * weight
    return count + added, unit, total * shrink + weight * z, squares * shrink * shrink + weight * z * z


def measures_in(known: Any, weight: Any) -> Measures:
    """Return the measures of a feature, of samples of so much weight."""
    count, largest, total, squares = known
    mean = total / weight
    return largest, mean, variance_of(squares / weight, mean), count / weight


def coordinates_in(known: Any, weight: Any, centered: bool, text_like: bool) -> tuple[Any, Any]:
    """Return center and scale of a feature, of samples of so much weight."""
    return wide_coordinates(measures_in(known, weight), centered, text_like)


def rare_scale_in(known: Any, weight: Any) -> Any:
    """Return the scale of a feature that is not frequent, which nothing centers: what `coordinates_in` says of it."""
    return nonzero(known[1] * relative_scale_of(known, rarity(known[0] / weight)))


def scale_in_largest(scale: Any, largest: Any) -> Any:
    """Return a scale in units of the feature's largest value, by whose square slots are multiplied.

    It has a limit for the scale 1 of values that are as good as zeros.
    """
    return np.minimum(scale / nonzero(largest), MOST_LARGEST)


def relative_scale_of(known: Any, rarity: Any) -> Any:
    """Return the same in units of the feature's largest value, from what is known and how rare it is."""
    count, _, _, squares = known
    return np.sqrt(squares / (nonzero(count) * rarity))


def entries_in(known: Any, weight: Any) -> tuple[Any, Any]:
    """Return the weight of a feature's entries, and that of indicators, if most samples do not have it."""
    count, _, total, _ = known
    entries = choose(count <= 0.5 * weight, count, 0.0)
    return entries, choose(total >= (1.0 - 1e-9) * count, entries, 0.0)


def shrunk(v: Any, time: Any, l1: Any, l2: Any) -> Any:
    r"""Return a coefficient that nothing but the penalty has moved for a while.

    That is the solution of :math:`\dot v = -l_1 \operatorname{sign}(v) - l_2 v`, which stays at 0 once it is there.
    """
    decay = l2 * time
    passed = time * choose(decay > 0.0, -np.expm1(-decay) / nonzero(decay), 1.0)
    return np.sign(v) * np.maximum(np.abs(v) * np.exp(-decay) - l1 * passed, 0.0)


def share_after(time: Any, n_samples: Any) -> Any:
    """Return the share of a coefficient that the default penalty leaves after a while: a proximal step.

    As those of AdaGrad, it is the shorter the more samples have had the feature.
    """
    return 1.0 / (1.0 + time / np.sqrt(1.0 + n_samples))


def empty_rows(n_columns: int, width: int) -> np.ndarray:
    """Return rows of zeros, of which the first begins where a line of the processor's cache, of 64 bytes, does."""
    numbers = np.zeros(n_columns * width + 7)
    first = -numbers.ctypes.data % 64 // numbers.itemsize
    return numbers[first : first + n_columns * width].reshape(n_columns, width)


class OutdatedError(LookupError):
    """Calls have gone on, more than one, since a version was the last one."""


class Changes:
    """What the rows of a table held before a call has changed them."""

    def __init__(self, size: int, array: np.ndarray):
        # The number of changes, and the column of each, and what its row held; the loop writes one more, not to count.
        self.columns = np.zeros(2 + size, np.int64)
        self.rows = np.empty((1 + size, array.shape[1]), array.dtype)

    def add(self, array: np.ndarray, columns: np.ndarray) -> None:
        """Note what the table holds of some columns."""
        begin = self.columns[0]
        stop = begin + len(columns)
        self.columns[1 + begin : 1 + stop] = columns
        array.take(columns, axis=0, out=self.rows[begin:stop], mode="clip")  # several times faster than by an index
        self.columns[0] = stop

    def undo(self, array: np.ndarray, begin: int = 0) -> None:
        """Write back what a table held before the changes from ``begin`` on."""
        stop = self.columns[0]
        columns, rows = self.columns[1 + begin : 1 + stop], self.rows[begin:stop]
        array[columns[::-1]] = rows[::-1]  # of a column that was noted twice, the first time counts


class Table:
    """An array with a row for each column, of which a call changes few rows, in place."""

    def __init__(self, array: np.ndarray):
        self._array, self.lock = array, threading.RLock()
        self._version = object()
        self._before: object = None  # the last version, to which what changed leads back
        self._changes = Changes(0, array)
        self._complete = True

    @property
    def version(self) -> object:
        """What the table holds now: a token to ask for it later with."""
        return self._version

    def begin(self, version: object, size: int) -> tuple[Table, np.ndarray, Changes]:
        """Return a table that holds what this one did at a version: another one if calls have gone on since.

        With it comes its array, to be changed in place, after what it held has been noted: up to so many times. It is
        undone unless `complete` is called. Meanwhile, ``lock`` is to be held.
        """
        if not (self._complete and version is self._version) and not self._holds(version):
            other = Table(self._earlier(version))
            return other.begin(other.version, size)
        self._before = None
        if len(self._changes.rows) <= size:
            self._changes = Changes(size, self._array)
        self._changes.columns[0] = 0
        self._before, self._complete = self._version, False
        return self, self._array, self._changes

    def complete(self) -> object:
        """Keep what has been changed; return the version that this is."""
        self._version, self._complete = object(), True
        return self._version

    @contextmanager
    def at(self, version: object) -> Iterator[np.ndarray]:
        """Give the array as it was at a version, to be read."""
        with self.lock:
            yield self._array if self._holds(version) else self._earlier(version)

    def _holds(self, version: object) -> bool:
        """Say whether the table holds this version, after undoing what an interrupted call has done."""
        if not self._complete:
            self._changes.undo(self._array)
            self._complete = True
        return version is self._version

    def _earlier(self, version: object) -> np.ndarray:
        """Return a copy with what the table held before the last call."""
        if self._before is None or version is not self._before:
            raise OutdatedError
        array = self._array.copy()
        self._changes.undo(array)
        return array
