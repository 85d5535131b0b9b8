"""For how many epochs a network is trained: as many as samples that it has not seen gain from.

Each fold is trained without some samples, all folds at once, and from time to time their loss on these is added up. The
number of epochs after which it is lowest is the one that all samples are then trained for. Training starts at the
linear model, and more than that has to be better by standard errors, as in the rule of Breiman, Friedman, Olshen and
Stone, *Classification and Regression Trees*, 1984. A loss may be large on few samples, of rare classes for example, and
standard errors do not know of those that were not seen: so one more sample counts, on which the network is worse.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from skgd.coordinates import copies_of
from skgd.engines import readout
from skgd.epochs import Epochs
from skgd.measuring import Matrix
from skgd.networks import is_linear_in_pairs
from skgd.plan import Plan
from skgd.schedules import Schedule
from skgd.state import Approach, Data, State, part_of

# The start of a training: the state, the samples, and what of the objective is outliers', and its unit, for schedules.
Begun: TypeAlias = tuple[State, Data, float, float]

_PARTS, _MANY_PARTS = 5, 10  # of the samples, one of which a fold leaves out
_MANY = 10_000  # samples, of which a tenth is enough
_LEFT_OUT = 500  # samples, in all folds together, are enough
_FEWEST = 20  # samples, other than copies: of fewer, some that are left out say nothing
_FEW = 64  # samples, in full batches: weights are to be the same as copies, whatever their order
_LONGER = 1.25  # each check after so many times as many epochs
_WAIT, _WAIT_STEPS, _WAIT_LONGER = 1.5, 150, 300  # times the best number of epochs, and steps
_ERRORS = 2.0  # standard errors by which a network has to be better than the linear model, and
_UNSEEN = 5.0  # what one more sample may lose, in units of the loss of the best constant model
_NOTEWORTHY = 0.02  # of the gain, and
_NOTHING = 1e-3  # of the loss of the best constant model: less is not waited for


def n_folds_of(n_samples: int) -> int:
    """Return how many folds there are: one, if samples are many."""
    n_parts = _n_parts_of(n_samples)
    return int(np.clip(-(-n_parts * _LEFT_OUT // n_samples), 1, n_parts))


def _n_parts_of(n_samples: int) -> int:
    return _PARTS if n_samples <= _MANY else _MANY_PARTS


def has_enough_samples(X: Matrix) -> bool:
    """Say whether samples can be left out."""
    return X.shape[0] >= _FEWEST and _groups(X).max() + 1 >= _FEWEST


def chosen_epochs(
    begun: Callable[[Data], Begun], plan: Plan, data: Data, n_classes: int, random_state: np.random.RandomState
) -> int | None:
    """Return for how many epochs to train, the first of which is the linear model; None, if ``max_iter`` is too few.

    ``begun`` returns the start of a training on some samples.
    """
    X, y, weight = data
    left_out = _folds(X, y, random_state)
    copies = copies_of(y, weight)
    worth = _worth_of(plan, y, weight, copies, n_classes)
    folds = [
        Fold(begun(part_of(data, ~rows)), plan, part_of(data, rows), worth[rows], random_state, 1 + len(left_out))
        for rows in left_out
    ]
    n_steps, copies = folds[0].n_steps, np.concatenate([copies[rows] for rows in left_out])
    n_samples = copies.sum()
    least = _WAIT_STEPS if is_linear_in_pairs(plan.activation) else _WAIT_LONGER
    linear = _losses_after(1, folds)
    best, best_epoch, noted, since = 0.0, 1, 0.0, 1
    for epoch in _checks(plan.max_iter):
        gains = _losses_after(epoch, folds) - linear
        mean = np.average(gains, weights=copies)
        error = np.sqrt(np.average((gains - mean) ** 2, weights=copies) / n_samples)
        bound = mean + _ERRORS * error + _UNSEEN / n_samples
        if bound < best:
            best, best_epoch = bound, epoch
        if bound < noted - max(_NOTEWORTHY * -noted, _NOTHING):
            noted, since = bound, epoch
        if (epoch - _WAIT * since) * n_steps > least:
            return best_epoch
    return None


def _losses_after(epoch: int, folds: list[Fold]) -> np.ndarray:
    return np.concatenate([fold.losses_after(epoch) for fold in folds])


class Fold:
    """The training of a network without some samples."""

    def __init__(
        self,
        begun: Begun,
        plan: Plan,
        held_out: Data,
        worth: np.ndarray,
        random_state: np.random.RandomState,
        n_trainings: int,
    ):
        state, data, self._of_outliers, self._unit = begun
        self._plan, self._held_out, self._worth, self._epoch = plan, held_out, worth, 0
        self._epochs = Epochs(state, plan, data, random_state, n_trainings=n_trainings)
        self._state = self._epochs.begin(state, from_zero=True, width=0.0)
        self.n_steps = self._epochs.n_steps

    def losses_after(self, epoch: int) -> np.ndarray:
        """Return the loss of each sample that is left out, by its worth, after so many epochs."""
        state = self._state
        observes = type(self._plan.schedule).observe is not Schedule.observe
        while self._epoch < epoch:
            n_epochs = epoch - self._epoch if self._epoch and not observes else 1
            memory = state.past.memory.get("objective")
            _, _, summary = self._epochs.take(state, self._epoch + 1, Approach(), memory, n_epochs)
            self._epoch += n_epochs
            objective = summary.progress - self._of_outliers
            state.past = state.past.followed_by({"objective": objective / self._unit}, self._plan.schedule)
        whole, (X, y, _) = self._epochs.whole(state), self._held_out
        theta = readout(whole.iterate, whole.optimizer, whole.objective)
        return whole.objective.losses_by_sample(theta, X, y) * self._worth


def _worth_of(plan: Plan, y: np.ndarray, weight: np.ndarray | None, copies: np.ndarray, n_classes: int) -> np.ndarray:
    """Return what the loss of a copy of each sample is worth; the mean is one, in whatever unit weights are."""
    totals = np.zeros(n_classes) if plan.class_weight is None else np.bincount(y, weight, n_classes)
    weighted = plan.row_weights(y, weight, totals)
    if weighted is None:
        return np.ones(len(y))
    return np.asarray(weighted / copies * (copies.sum() / weighted.sum()))


def _checks(max_iter: int) -> Iterator[int]:
    """Yield the numbers of epochs after which to look."""
    epoch = 2
    while epoch < max_iter:
        yield epoch
        epoch = max(epoch + 1, round(_LONGER * epoch))
    yield max_iter


def _folds(X: Matrix, y: np.ndarray, random_state: np.random.RandomState) -> list[np.ndarray]:
    """Return which samples each fold leaves out: copies together, and of each class as many as there are of others."""
    n_samples, groups = X.shape[0], _groups(X)
    _, first = np.unique(groups, return_index=True)
    order = random_state.permutation(len(first))
    if y.dtype.kind != "f" and y.ndim == 1:
        order = order[np.argsort(y[first[order]], kind="stable")]
    part = np.empty(len(first), dtype=int)
    part[order] = np.arange(len(first)) % _n_parts_of(n_samples)
    return [part[groups] == number for number in range(n_folds_of(n_samples))]


def _groups(X: Matrix) -> np.ndarray:
    """Return a number for each sample, the same for copies: in the order of their values, if samples are few."""
    if X.shape[0] <= _FEW:
        rows = X if isinstance(X, np.ndarray) else X[:, np.unique(X.indices)].toarray()
        return np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    if isinstance(X, np.ndarray):
        keys = [zlib.crc32(row) for row in np.ascontiguousarray(X)]
    else:
        ends = X.indptr
        keys = [
            zlib.crc32(X.data[begin:end].tobytes(), zlib.crc32(X.indices[begin:end].tobytes()))
            for begin, end in pairwise(ends)
        ]
    _, first, groups = np.unique(keys, return_index=True, return_inverse=True)
    numbers = np.empty(len(first), dtype=int)
    numbers[np.argsort(first)] = np.arange(len(first))  # in the order of their first copies, whatever the units
    return numbers[groups]
