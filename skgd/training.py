"""The loop of ``fit``: epochs of mini-batches over one data set, in coordinates learned from all of it.

`skgd.automatic` decides what is left to "auto", `skgd.stopping` when training ends, `skgd.steps` takes the steps.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from skgd.automatic import (
    average_every,
    base_rate,
    batch_size,
    chooses_penalty,
    has_many_rows,
    rows_of_hessian,
    takes_newton_steps,
)
from skgd.constant import begun_at_constant, best_constant, yardstick
from skgd.decorrelation import decorrelation_of
from skgd.engines import MANY_EPOCHS, USUAL_EPOCHS, EpochSummary, choose
from skgd.evaluation import evaluated
from skgd.history import append, drop_unfinished, entry_of, print_ending, print_entry
from skgd.newton import NewtonEpochs, copies_of, with_chosen_penalty
from skgd.optimizers import laziness_of
from skgd.packing import Packing
from skgd.plan import Plan
from skgd.state import Approach, Data, Progress, State
from skgd.steps import Batches, Orders, divergence, learn, rates_of, run
from skgd.stopping import Ending, Stopping, goal_of, warn_interrupted
from skgd.subsampling import SubsampledEpochs, columns_vary_in_many_rows, sample_of


class Observer(Protocol):
    """Who is told when an epoch begins and ends, and may ask to stop."""

    def begin_epoch(self, state: State, progress: Progress) -> None:
        """Be told that an epoch begins."""

    def end_epoch(self, state: State, progress: Progress) -> bool:
        """Be told that an epoch has ended; return whether to stop."""


def train_epochs(
    state: State,
    plan: Plan,
    data: Data,
    validation: Data | None,
    history: dict[str, list[float]],
    random_state: np.random.RandomState,
    resumed: Progress | None = None,
    observer: Observer | None = None,
) -> tuple[State, int, Ending]:
    """Train until the criterion of `skgd.stopping` is met, at most ``plan.max_iter`` epochs; append to ``history``.

    With validation data, its loss is watched instead, and the parameters of the best epoch are kept. With ``resumed``,
    go on from there, where an earlier call with the same data ended. Return the state, the number of epochs, and why
    there were no more.
    """
    watched_key = "objective" if validation is None else "validation_loss"
    watched = history[watched_key]
    epoch, best_iterate, best_epoch, best_score = 0, None, 0, np.nan
    if resumed is not None:
        epoch, best_iterate, best_epoch = resumed.epoch, resumed.best_iterate, resumed.best_epoch
        best_score = resumed.best_score
    began = len(watched) - epoch
    newton = takes_newton_steps(plan, state.objective, data[0])
    X, y, given_weight = data
    sampled = newton and rows_of_hessian(state.objective, X) < X.shape[0]
    if sampled and not columns_vary_in_many_rows(X):
        newton = sampled = False
    dense = X if isinstance(X, np.ndarray) or not newton else X.toarray()
    start, validates = state, validation is not None
    state, data = learn(start, plan, (dense, y, given_weight), stream=False, newton=newton)
    constant, sample = best_constant(state, *data[1:]), None
    if sampled:
        sample = sample_of(state, data, constant)
        if sample is None:
            newton = False
            state, data = learn(start, plan, (dense, y, given_weight), stream=False, measured=state.columns)
            constant = best_constant(state, *data[1:])
    to_minimum = goal_of(state.objective, plan, validates) is not None
    asked = plan.tol is not None and (to_minimum or has_many_rows(state))
    combined = decorrelation_of(state, plan, data) if asked and not newton else None
    if combined is not None:
        combinations = combined.rows(dense), y, given_weight
        state, data = learn(combined.begun(start), plan, combinations, stream=False, scale=combined.scale)
        constant = best_constant(state, *data[1:])
    worth, of_outliers = yardstick(state, constant, data)
    state = begun_at_constant(state, plan, constant)
    state.objective = replace(state.objective, worth=worth)
    unit = worth[0] if state.objective.one_problem else 1.0  # of what a schedule watches
    if newton and chooses_penalty(state, plan):
        copies = copies_of(y, given_weight)
        if sample is None:
            state = with_chosen_penalty(state, data, copies)
        else:
            state.objective = replace(state.objective, alpha=float(1.0 / copies.sum()))
    epochs: Any
    if not newton:
        epochs = _Epochs(state, plan, data, random_state, MANY_EPOCHS if to_minimum else USUAL_EPOCHS)
    elif sample is None:
        epochs = NewtonEpochs(plan, data, random_state)
    else:
        epochs = SubsampledEpochs(plan, data, random_state, sample)
    n_steps, orders = epochs.n_steps, epochs.orders
    stopping = Stopping(
        state, plan, data, of_outliers, n_steps, shuffled=orders.shuffled, validates=validates, newton=newton
    )
    before = state.t - _steps_of(resumed, n_steps)
    if resumed is not None:
        state.iterate, state.past, orders.state = resumed.iterate, resumed.past, resumed.shuffler
        stopping.resume(resumed)
    state = epochs.begin(state, from_zero=before == 0, width=0.0 if resumed is None else resumed.width)

    def whole_of(state: State) -> State:
        return epochs.whole(state) if combined is None else combined.whole(state)

    def now() -> tuple[State, Progress]:
        whole = whole_of(state)
        iterate = whole.iterate if combined is None else state.iterate
        so_far = iterate, stopping.best, best_iterate, stopping.waited
        return whole, Progress(
            epoch,
            len(watched),
            *so_far,
            orders.state,
            past=state.past,
            watched=tuple(stopping.watched),
            approach=stopping.approach,
            steps=state.t - before,
            best_epoch=best_epoch,
            best_score=best_score,
            width=epochs.width,
        )

    try:
        while epoch < plan.max_iter and not stopping.done:
            if observer is not None:
                observer.begin_epoch(*now())
            epoch += 1
            started = time.perf_counter()
            batches, rate, summary = epochs.take(state, epoch, stopping.approach, state.past.memory.get(watched_key))
            if stopping.exploded(summary):
                where = f"epoch {epoch} at step {state.t} (learning rate {rate:.3g})"
                raise divergence(plan, where, "exploded")
            validated, value = (np.nan, np.nan), summary.progress
            seen = {"objective": value}
            if validation is not None:
                shown = whole_of(state)
                losses, score = evaluated(shown, plan, validation)
                validated, value = (float(losses.sum()), score), float((worth * losses).sum())
                seen["validation_loss"] = value
            lowest = stopping.observe(value, state, batches, summary)
            suboptimality = stopping.check(epoch, state, epochs.data)
            entry = entry_of(summary, rate, started, validated, suboptimality)
            append(history, entry)
            seen = {key: (of_epoch - of_outliers) / unit for key, of_epoch in seen.items()}
            state.past = state.past.followed_by(seen, plan.schedule)
            if plan.verbose:
                print_entry(state.past.epochs, entry, header=epoch == 1)
            if lowest and validation is not None:
                best_iterate, best_epoch, best_score = shown.iterate, epoch, score
            if observer is not None and observer.end_epoch(*now()):
                stopping.end("callback")
        ending = stopping.conclude(state, epochs.data)
        if stopping.approach.epoch == epoch and "suboptimality" in history:  # a record of earlier releases has none
            history["suboptimality"][-1] = ending.suboptimality
    except KeyboardInterrupt:
        drop_unfinished(history)
        warn_interrupted(epoch)
        stopping.end("interrupted")
        ending = stopping.ending
    if plan.verbose:
        print_ending(ending.reason, ending.suboptimality)
    state = whole_of(state)
    if best_iterate is not None:
        state.iterate = best_iterate
    n_epochs = len(watched) - began
    return state, n_epochs, ending._replace(kept=best_epoch or n_epochs, score=best_score)


def _steps_of(resumed: Progress | None, n_steps: int) -> int:
    """Return how many steps of a fit that goes on have been taken."""
    if resumed is None:
        return 0
    return resumed.epoch * n_steps if resumed.steps is None else resumed.steps


class _Epochs:
    """How the epochs of one ``fit`` are taken: in which batches and orders, with which engine, columns and rates."""

    width = 0.0  # of the intervals around kinks, which Newton's steps have

    def __init__(self, state: State, plan: Plan, data: Data, random_state: np.random.RandomState, n_epochs: int):
        _, y, _ = data
        self._plan, self.data, self._n_epochs = plan, data, min(plan.max_iter, n_epochs)
        self._size = batch_size(state, plan, regression=y.dtype.kind == "f")
        self._packing: Packing | None = None
        self.n_steps = -(-len(y) // self._size)
        self.orders = Orders(plan, len(y), self._size, random_state)

    def begin(self, state: State, *, from_zero: bool, width: float) -> State:
        """Return the state that these epochs change; ``from_zero``, if they are the first of its parameters."""
        X, y, weight = self.data
        state.engine = choose(
            state.optimizer,
            state.objective,
            n_epochs=self._n_epochs,
            n_steps=self.n_steps,
            n_entries=X.size,
            sparse=sp.issparse(X),
        )
        sparse = not isinstance(X, np.ndarray) and X.nnz > 0
        if state.engine == "compiled" and sparse and from_zero and laziness_of(state.optimizer) == "rest":
            self._packing = Packing(state, X)
            state, self.data = self._packing.packed(state), (self._packing.rows(X), y, weight)
        self._base, self._longest = base_rate(state, self._plan)
        return state

    def whole(self, state: State) -> State:
        """Return the state for all columns."""
        return state if self._packing is None else self._packing.unpacked(state)

    def take(self, state: State, number: int, approach: Approach, memory: Any) -> tuple[Batches, float, EpochSummary]:
        """Take an epoch; return its batches, last rate and summary. ``memory`` is what the schedule remembers."""
        order = self.orders.draw()
        size = min(self._size * approach.growth, len(order))
        batches = Batches(*self.data, order, size)
        rates = approach.slowdown * rates_of(self._base, state, self._plan, -(-len(order) // size), memory)
        longest = None if self._longest is None else min(approach.slowdown, 1.0) * self._longest
        every = average_every(size, state.columns)
        summary = run(state, self._plan, batches, rates, longest, every, f"epoch {number}")
        return batches, float(rates[-1]), summary
