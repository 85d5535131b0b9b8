"""The loop of ``fit``: epochs of mini-batches over one data set, in coordinates learned from all of it.

`skgd.automatic` decides what is left to "auto", `skgd.stopping` when training ends, `skgd.steps` takes the steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from skgd.activations import Identity
from skgd.automatic import (
    batch_size,
    chooses_epochs,
    chooses_penalty,
    has_many_rows,
    linear_plan,
    penalty_of_network,
    rows_of_newton,
    starts_at_linear_model,
)
from skgd.constant import begun_at_constant, best_constant, yardstick
from skgd.coordinates import copies_of
from skgd.correlation import some_rows
from skgd.cross_validation import Begun, chosen_epochs, has_enough_samples, n_folds_of
from skgd.decorrelation import decorrelation_of
from skgd.engines import MANY_EPOCHS, USUAL_EPOCHS, initial_iterate
from skgd.epochs import Epochs
from skgd.evaluation import evaluated
from skgd.history import append, drop_unfinished, entry_of, history_keys, print_ending, print_entry
from skgd.measuring import Matrix
from skgd.networks import at_linear_model
from skgd.newton import NewtonEpochs, problem_of, with_chosen_penalty
from skgd.optimizers import AdaGrad
from skgd.packing import Packing
from skgd.plan import Plan
from skgd.state import Data, Progress, State, start_state
from skgd.steps import DivergenceError, divergence, learn
from skgd.stopping import Ending, Stopping, goal_of
from skgd.subsampling import SubsampledEpochs, columns_vary_in_many_rows, sample_of


class Observer(Protocol):
    """Who is told when an epoch begins and ends, and may ask to stop."""

    unpacked: Callable[[State], State]  # what makes of a state that it is told the one for all features

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
    there were no more. Features without an entry, of hashed text, are left out meanwhile: they cost nothing.
    """
    packing = _packing_of(state, data[0], resumed)
    if packing is not None:
        state, data = packing.begun(state), (packing.rows(data[0]), *data[1:])
        validation = None if validation is None else (packing.rows_of_others(validation[0]), *validation[1:])
        if observer is not None:
            observer.unpacked = packing.unpacked
    watched_key = "objective" if validation is None else "validation_loss"
    watched = history[watched_key]
    epoch, best_iterate, best_epoch, best_score = 0, None, 0, np.nan
    if resumed is not None:
        epoch, best_iterate, best_epoch = resumed.epoch, resumed.best_iterate, resumed.best_epoch
        best_score = resumed.best_score
    began = len(watched) - epoch
    X, y, given_weight = data
    regression = y.dtype.kind == "f"
    newton = rows_of_newton(plan, state.objective, X, regression=regression)
    if 0 < newton < X.shape[0] and not columns_vary_in_many_rows(X):
        newton = 0
    sampled = 0 < newton < X.shape[0]
    dense = X if isinstance(X, np.ndarray) or not newton else X.toarray()
    start, validates = state, validation is not None
    state, data = learn(start, plan, (dense, y, given_weight), stream=False, newton=newton)
    constant, sample = best_constant(state, *data[1:]), None
    if sampled:
        sample = sample_of(state, data, constant, newton)
        if sample is None:
            newton = 0
            state, data = learn(start, plan, (dense, y, given_weight), stream=False, measured=state.columns)
            constant = best_constant(state, *data[1:])
    to_minimum = goal_of(state.objective, plan, validates) is not None
    asked = plan.tol is not None and not newton and (to_minimum or has_many_rows(state))
    combined = decorrelation_of(state, plan, data) if asked else None
    if combined is not None:
        combinations = combined.rows(dense), y, given_weight
        state, data = learn(combined.begun(start), plan, combinations, stream=False, scale=combined.scale)
        constant = best_constant(state, *data[1:])
    state, of_outliers, unit = begun_with_yardstick(state, plan, data, constant)
    epochs: Any
    n_epochs, n_trainings, interrupted = None, 0, False
    problem = problem_of(state, plan, data) if newton and sample is None else None
    begins = resumed is None and starts_at_linear_model(start, plan, X) and has_enough_samples(X)
    if resumed is not None:
        n_epochs, n_trainings = resumed.n_epochs if chooses_epochs(plan) else None, resumed.n_trainings
    elif begins:
        n_trainings = 1 if validates else 1 + n_folds_of(X.shape[0])
    try:
        if newton and chooses_penalty(state, plan, regression=regression):
            copies = copies_of(y, given_weight)
            if problem is not None:
                state, problem = with_chosen_penalty(state, problem, copies)
            else:
                state.objective = replace(state.objective, alpha=float(1.0 / copies.sum()))
        if begins and not validates:
            n_epochs = _chosen_epochs(state, start, plan, (X, y, given_weight), random_state)
    except KeyboardInterrupt:
        if not plan.reports:
            raise
        interrupted = True
    if begins:
        state = _at_linear_model(state, start, plan, (X, y, given_weight), random_state)
    if n_trainings and plan.alpha == "auto":
        state = _with_penalty_of_network(state, y, given_weight)
    if sample is not None:
        epochs = SubsampledEpochs(plan, data, random_state, sample)
    elif problem is not None:
        epochs = NewtonEpochs(problem, plan, data, random_state)
    else:
        many = MANY_EPOCHS if to_minimum else USUAL_EPOCHS
        epochs = Epochs(state, plan, data, random_state, many, n_trainings=n_trainings)
    n_steps, orders = epochs.n_steps, epochs.orders
    stopping = Stopping(
        state,
        plan,
        data,
        of_outliers,
        n_steps,
        shuffled=orders.shuffled,
        validates=validates,
        newton=newton > 0,
        n_epochs=n_epochs,
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
            n_epochs=n_epochs,
            n_trainings=n_trainings,
        )

    try:
        if interrupted:
            raise KeyboardInterrupt
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
                validated, value = (float(losses.sum()), score), float((state.objective.worth * losses).sum())
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
        if not plan.reports:
            raise
        drop_unfinished(history)
        ending = stopping.interrupted(epoch)
    if plan.verbose:
        print_ending(ending.reason, ending.suboptimality)
    state = whole_of(state)
    if best_iterate is not None:
        state.iterate = best_iterate
    n_epochs = len(watched) - began
    state = state if packing is None else packing.unpacked(state)
    return state, n_epochs, ending._replace(kept=best_epoch or n_epochs, score=best_score)


def _packing_of(state: State, X: Matrix, resumed: Progress | None) -> Packing | None:
    """Return the packing of features with entries, unless training begins with coefficients of others, or did."""
    if state.t > (0 if resumed is None else resumed.steps or 0):
        return None
    packing = Packing.of_occurring(X)
    if packing is None or resumed is None:
        return packing
    of_all = len(resumed.iterate.theta) == state.objective.n_parameters  # or those of an earlier release
    return None if of_all else packing


def begun_with_yardstick(state: State, plan: Plan, data: Data, constant: np.ndarray) -> tuple[State, float, float]:
    """Return the state at the best constant model, what outliers add to its loss, and the unit of what is watched."""
    worth, of_outliers = yardstick(state, constant, data)
    state = begun_at_constant(state, plan, constant)
    state.objective = replace(state.objective, worth=worth)
    return state, of_outliers, worth[0] if state.objective.one_problem else 1.0


def _chosen_epochs(
    state: State, start: State, plan: Plan, data: Data, random_state: np.random.RandomState
) -> int | None:
    """Return for how many epochs to train a network, see `skgd.cross_validation.chosen_epochs`."""
    _, y, _ = data
    size = batch_size(state, plan, regression=y.dtype.kind == "f")
    plan = replace(plan, batch_size=None if size == len(y) else size)  # the same in all folds

    def begun(data: Data) -> Begun:
        state, weighted = learn(start, plan, data, stream=False)
        state, of_outliers, unit = begun_with_yardstick(state, plan, weighted, best_constant(state, *weighted[1:]))
        state = _with_penalty_of_network(state, *data[1:])
        return _at_linear_model(state, start, plan, data, random_state), weighted, of_outliers, unit

    return chosen_epochs(begun, plan, data, len(start.class_totals), random_state)


def _with_penalty_of_network(state: State, y: np.ndarray, weight: np.ndarray | None) -> State:
    alpha = penalty_of_network(state.objective, float(copies_of(y, weight).sum()))
    return replace(state, objective=replace(state.objective, alpha=alpha))


def _at_linear_model(state: State, start: State, plan: Plan, data: Data, random_state: np.random.RandomState) -> State:
    """Return the state of a network whose predictions are those of the linear model with default parameters."""
    plan = linear_plan(plan)
    linear = untrained_linear_model(start, random_state)
    history: dict[str, list[float]] = {key: [] for key in history_keys(1)}
    try:
        linear, _, _ = train_epochs(linear, plan, data, None, history, random_state)
    except DivergenceError:
        return state
    return predicting_like(linear, state, data[0])


def untrained_linear_model(start: State, random_state: np.random.RandomState) -> State:
    """Return the state before training of the linear model beside a network, with default parameters."""
    objective = replace(start.objective, hidden_layer_sizes=(), activation=Identity())
    state = start_state(objective, AdaGrad(), start.dtype.type, len(start.class_totals), True, random_state)
    return replace(state, columns=start.columns)


def predicting_like(linear: State, state: State, X: Matrix) -> State:
    """Return the state of a network, random so far, whose predictions for such samples are those of a linear model."""
    objective = replace(state.objective, hidden_layer_sizes=())
    [layer] = objective.layers(objective.from_user(linear.readout(), np.float64))
    random = state.objective.layers(state.iterate.theta)
    samples = objective.coordinates.standardized(some_rows(X))
    layers = at_linear_model(random, layer, state.objective.activation, samples)
    theta = state.objective.join(layers, np.float64).astype(state.dtype)
    return replace(state, iterate=initial_iterate(theta, state.optimizer, state.averaging))


def _steps_of(resumed: Progress | None, n_steps: int) -> int:
    """Return how many steps of a fit that goes on have been taken."""
    if resumed is None:
        return 0
    return resumed.epoch * n_steps if resumed.steps is None else resumed.steps
