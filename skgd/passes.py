r"""Training by passes over all partitions: each adds up losses and gradients, and then the parameters take one step.

`skgd.partitions` documents the steps, and what is held out. `skgd.partition_sums` computes the sums of a partition, and
`skgd.descent` takes the steps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from skgd.automatic import STREAM_BATCH, chooses_penalty, has_many_rows, penalizes_standardized
from skgd.constant import begun_at_constant, best_constant, is_robust, value_of_zero, yardstick
from skgd.coordinates import copies_of
from skgd.curvature import Problem
from skgd.descent import LBFGS, Descent, Evaluation, NewtonDescent, ProximalStep
from skgd.engines import EpochSummary, initial_iterate
from skgd.engines.vectorized import penalties_of, summarized
from skgd.evaluation import evaluated
from skgd.history import append, drop_unfinished, entry_of, print_ending, print_entry
from skgd.losses import SquaredError
from skgd.measuring import nonzero
from skgd.newton import with_chosen_penalty
from skgd.objective import Objective
from skgd.optimizers import AdaGrad
from skgd.outliers import limit_in, may_be_outlying, without_outlying_values
from skgd.partition_sums import HeldOut, HeldOutSums, Known, Sums, Survey, sums
from skgd.penalty import minimum
from skgd.plan import Plan
from skgd.run import Run
from skgd.state import Data, Progress, State
from skgd.steps import discounts_outliers, usual_in_steps, with_coordinates, with_penalty, without_outlying_rows
from skgd.stopping import Ending, Stopping, goal_of
from skgd.strategy import plain_repr

_FEW_COLUMNS = 500
_FEW_PRODUCTS = 1e6  # for each row
_CLOSE = 1e-3  # of the loss at the start: how near its minimum the sample is where training begins
_STEPS = 20
_LEAST_FALL = 0.02  # of the loss of other rows, in a proximal step, each of which goes twice as far as the last
_LEAST_GAIN = 0.01  # of the loss of other rows, for which parameters are better than the best ones before
_STEPS_OF_PATH = 1000  # for which a proximal step counts: as a long epoch
_PATIENCE = 2  # steps with less
_FLAT_STEPS = 10  # which may leave the objective as it was, and count only if they do not
_AGAIN = 3  # the last ones, taken again on all rows
_BEYOND = 1  # more than these, because rows held out do not tell by a factor of two how far is best
_AVERAGED = 2 * _BEYOND + 1  # of the ends of these steps: from as far before the best one
_POWER_ITERATIONS = 10
_POWER_OF_LENGTH = 1 / 16  # of the mean square; the damping is that of its square, half way from none to AdaGrad's 1/4
_LEAST_SHARE = 1e-8  # of the largest mean square
_FEWEST_HELD_OUT, _MOST_HELD_OUT = 1000, 2**12  # rows, for the end of training
_SHARE_HELD_OUT, _LARGEST_SHARE_HELD_OUT = 0.05, 0.1
_SEED = 1  # of these rows, which depend on no random state, and are others than those of the sample


class Engine(Protocol):
    """What runs tasks for partitions, and merges what they return in the tree."""

    @property
    def n_partitions(self) -> int:
        """The number of partitions."""

    def run(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``task(partition, number, *arguments)`` of all partitions, merged; None where all are empty."""

    def run_in_lanes(self, task: Callable[..., Any], lanes: Sequence[Sequence[int]], *arguments: Any) -> Any:
        """Return what tasks made of the partitions of each lane, one after the other, merged.

        A task is called as ``task(before, partition, number, *arguments)`` with what that of the lane's previous
        partition returned, at first None.
        """


def targets_of(known: Known, found: Survey) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a y and weights that stand for those of all rows: for labels exactly, else the sample's."""
    y = known.reader._encode(found.sample.y, "y")
    if y.dtype.kind == "f":
        return y, found.sample.weight
    if y.ndim == 1:
        classes = np.arange(len(known.class_totals))
        return classes, known.plan.row_weights(classes, known.class_totals, known.class_totals)
    # Rows of which each label has its share.
    shares = found.totals / found.columns.weight
    edges = np.unique(np.concatenate([shares, [1.0]]))
    return shares >= edges[:, np.newaxis], np.diff(edges, prepend=0.0)


def train_by_sums(
    state: State,
    plan: Plan,
    engine: Engine,
    known: Known,
    found: Survey,
    validation: Data | None,
    history: dict[str, list[float]],
    observer: Run | None,
) -> tuple[State, int, Ending]:
    """Take passes until the criterion of `skgd.stopping` is met; return the state, their number, and why they ended."""
    newton = takes_newton_steps(state.objective)
    _check_loss(state.objective)
    sample, targets = sample_of(known, found, dense=newton), targets_of(known, found)
    state = standardized(with_penalty(state, plan), plan, sample, newton=newton)
    constant = best_constant(state, *targets)
    worth, of_outliers = yardstick(state, constant, (sample[0], *targets))
    begun = begun_at_constant(state, plan, constant)
    begun.objective = replace(begun.objective, worth=worth)
    state, start, in_sample = begun, begun.iterate.theta, False
    path = not newton and _stops_by_new_rows(state.objective, plan)
    if not newton and not path and plan.alpha == "auto":
        n_classes = state.objective.n_outputs if state.objective.exclusive_classes else 1
        alpha = max(state.objective.alpha, 1.0 / (number_of_copies(found) * n_classes**0.5))
        state.objective = replace(state.objective, alpha=alpha)
    if newton:
        state, start = _begun_in_sample(begun, plan, sample, found)
        in_sample = start is not begun.iterate.theta
    objective, columns = state.objective, state.columns
    holds_out = path and known.held_out is None and validation is None
    if holds_out:
        known = replace(known, held_out=HeldOut(share_held_out(columns.rows), _SEED, chosen=False))
    known = replace(known, objective=objective, weight=columns.weight)
    if (path or newton) and _discounts_outliers(state, plan, sample[1], newton=newton):
        of_rows = columns, objective.coordinates, objective.fit_intercept
        if may_be_outlying(*of_rows):
            known = replace(known, limit=limit_in(*of_rows))
            sample = *sample[:2], without_outlying_rows(state, plan, sample, stream=False, measured=True)
    validates = validation is not None or known.held_out is not None
    descent: Descent
    if newton:
        problem = Problem(objective, *sample)
        descent = NewtonDescent(problem, start.astype(np.float64), columns.rows)
    else:
        lengths = _lengths_of(state) if path else None
        descent = LBFGS(objective, start.astype(np.float64), _largest_curvature(state, sample), lengths)
    goal = goal_of(objective, plan, validates)
    stopping = Stopping(
        state,
        _plan_of_path(plan) if path else plan,
        (sample[0], *targets),
        of_outliers,
        _STEPS_OF_PATH if path else 1,
        shuffled=False,
        validates=validates,
        newton=True,
        accuracy=None if newton else goal,
    )
    epoch, best_epoch, best_score, best_value, best_theta = 0, 0, np.nan, np.inf, None
    steps: deque[ProximalStep] = deque(maxlen=_AGAIN)  # the last ones, up to the best parameters
    best_steps: list[ProximalStep] = []
    n_steps, flat = 0, np.inf
    last, falls = np.full((2, 2), np.nan)  # the loss of other rows and the objective after the last step, and its gain
    again = 0  # how many of them are still to be taken again, on all rows
    ends: deque[np.ndarray] = deque(maxlen=_AVERAGED)  # of those that were
    before, began = state.t, len(history["objective"])

    def now() -> tuple[State, Progress]:
        so_far = state.iterate, stopping.best, None, stopping.waited, None
        return state, Progress(
            epoch,
            len(history["objective"]),
            *so_far,
            past=state.past,
            watched=tuple(stopping.watched),
            approach=stopping.approach,
            steps=epoch,
            best_epoch=best_epoch,
            best_score=best_score,
            width=descent.width,
        )

    try:
        while epoch < plan.max_iter and (not stopping.done or again > 0):
            if observer is not None:
                observer.begin_epoch(*now())
            epoch += 1
            started = time.perf_counter()
            total: Sums = engine.run(sums, known, descent.request)
            evaluation = descent.take(total if known.held_out is None else total.means())
            summary = _summary_of(state, evaluation)
            if in_sample and epoch == 1 and summary.progress > _highest(state, targets, of_outliers):
                descent = NewtonDescent(problem, begun.iterate.theta.astype(np.float64), columns.rows)
            value, validated = summary.progress, (np.nan, np.nan)
            if validates:
                shown = _with_theta(state, evaluation.theta, total, before + epoch)
                losses, score = losses_and_score(shown, plan, validation, total.held_out)
                validated, value = (float(losses.sum()), score), float((worth * losses).sum())
            if evaluation.step is not None:
                steps.append(evaluation.step)
                n_steps += 1
            if epoch == 1:
                flat = (1.0 - _LEAST_FALL) * summary.progress
            begins = n_steps <= _FLAT_STEPS and summary.progress > flat
            if again:
                if evaluation.step is not None:
                    again -= 1
                    ends.append(evaluation.theta)
                if not again:
                    best_theta, best_epoch = None, 0
            elif path and epoch > 1 and (evaluation.step is None or begins):
                pass  # parameters in the midst of a step tell less, and the first steps may be too short to learn
            elif evaluation.accepted or validates:
                if path and (last - (value, summary.progress) > np.maximum(falls, 0.0)).all():
                    stopping.waited = 0  # each step gains more than the one before
                lowest = stopping.observe(value, state, None, summary)
                if path:
                    lowest = value < (1.0 - _LEAST_GAIN) * best_value
                if validates and lowest:
                    best_theta, best_epoch, best_score, best_steps = shown, epoch, score, list(steps)
                    best_value = value
            else:
                stopping.reject()
            if holds_out and best_steps and stopping.ending.reason == "validation":
                assert isinstance(descent, LBFGS)
                descent, known = descent.begun_at(best_steps[0]), replace(known, held_out=None)
                holds_out, validates, again = False, False, len(best_steps) + _BEYOND
            if evaluation.step is not None and validates:
                falls = last - (value, summary.progress)
                last = np.array([value, summary.progress])
            entry = entry_of(summary, 1.0, started, validated, stopping.approach.suboptimality)
            append(history, entry)
            state.past = state.past.followed_by({"objective": summary.progress}, plan.schedule)
            if plan.verbose:
                print_entry(state.past.epochs, entry, header=epoch == 1)
            theta = np.mean(ends, axis=0) if ends and not again else descent.theta
            state.iterate = _with_theta(state, theta, total, before + epoch).iterate
            if observer is not None and observer.end_epoch(*now()):
                stopping.end("callback")
                again = 0
        if again:  # which max_iter has cut
            stopping.end("max_iter")
        ending = stopping.conclude(state, (sample[0], *targets))
    except KeyboardInterrupt:
        drop_unfinished(history)
        ending = stopping.interrupted(epoch)
    if plan.verbose:
        print_ending(ending.reason, ending.suboptimality)
    if best_theta is not None:
        state.iterate = best_theta.iterate
    n_passes = len(history["objective"]) - began
    return state, n_passes, ending._replace(kept=best_epoch or n_passes, score=best_score)


def _plan_of_path(plan: Plan) -> Plan:
    """Return the plan with the progress that is asked of a proximal step."""
    patience = _PATIENCE if plan.n_iter_no_change == "auto" else plan.n_iter_no_change
    return replace(plan, tol=_LEAST_FALL, n_iter_no_change=patience)


def _stops_by_new_rows(objective: Objective, plan: Plan) -> bool:
    """Say whether more passes would fit noise, so that training ends when the loss of other rows is lowest."""
    return plan.tol is not None and goal_of(objective, plan, validates=False) is None


def share_held_out(n_rows: int) -> float:
    """Return the share of the rows that tells when more passes would fit noise, where nobody has chosen it."""
    n_held_out = min(max(_FEWEST_HELD_OUT, _SHARE_HELD_OUT * n_rows), _MOST_HELD_OUT)
    return min(_LARGEST_SHARE_HELD_OUT, n_held_out / n_rows)


def takes_newton_steps(objective: Objective) -> bool:
    """Say whether a pass can afford the products of all pairs of columns."""
    width, n_hessians = objective.n_features + objective.fit_intercept, objective.n_outputs
    if objective.loss.normalized:
        width, n_hessians = width * max(objective.n_outputs - 1, 1), 1
    elif isinstance(objective.loss, SquaredError):
        n_hessians = 1
    return width <= _FEW_COLUMNS + 1 and width**2 * n_hessians <= _FEW_PRODUCTS


def minimizes(objective: Objective) -> bool:
    """Say whether the steps minimize this objective of a linear model."""
    loss = objective.loss
    return loss.smooth or (loss.smoothable and takes_newton_steps(objective))


def _check_loss(objective: Objective) -> None:
    """Refuse losses that the steps cannot minimize."""
    if minimizes(objective):
        return
    loss = objective.loss
    name = plain_repr(loss)
    if loss.smoothable:
        raise ValueError(
            f"loss={name} has kinks, and is available for training on partitions with few features only (at most "
            f"{_FEW_COLUMNS}, and fewer with several outputs), got {objective.n_features} features and "
            f"{objective.n_outputs} outputs. Use a smooth loss: 'squared_hinge' or 'log_loss' instead of "
            "'hinge', and 'huber' or 'squared_epsilon_insensitive' in regression. Or use solver='sgd'."
        )
    raise ValueError(
        f"loss={name} is not available for training on partitions with solver='auto', which needs a convex loss. Use "
        "solver='sgd' or another loss or, for a custom loss that is convex with a continuous gradient, set its "
        "attribute smooth = True."
    )


def sample_of(known: Known, found: Survey, *, dense: bool) -> Data:
    """Return the sample of rows, with the weights of their classes."""
    X: Any = found.sample.X
    y = known.reader._encode(found.sample.y, "y")
    X = X.toarray() if dense and found.sparse else X
    return X.astype(known.dtype, copy=False), y, known.plan.row_weights(y, found.sample.weight, known.class_totals)


def standardized(state: State, plan: Plan, sample: Data, *, newton: bool, scale: np.ndarray | None = None) -> State:
    """Return the state in the coordinates of the statistics; what outliers would change, by the sample."""
    X, y, weight = sample
    columns, sparse = state.columns, not isinstance(X, np.ndarray)
    penalizes = penalizes_standardized(state, plan, regression=y.dtype.kind == "f")
    if newton and (penalizes or _discounts_outliers(state, plan, y, newton=True)):
        columns = replace(columns, usual=without_outlying_values(X, weight, columns.measures))
    elif not newton:
        columns = usual_in_steps(columns, plan, X, weight, robust=is_robust(state.objective, y))
    state = replace(state, columns=columns)
    return with_coordinates(state, plan, (y, weight), stream=False, newton=newton, sparse=sparse, scale=scale)


def _discounts_outliers(state: State, plan: Plan, y: np.ndarray, *, newton: bool) -> bool:
    """Say whether outlying samples count less: as in the mini-batches of ``fit``, but not in its Newton steps."""
    if not (discounts_outliers(plan) and is_robust(state.objective, y)):
        return False
    return not (newton and chooses_penalty(state, plan, regression=y.dtype.kind == "f"))


def _begun_in_sample(state: State, plan: Plan, sample: Data, found: Survey) -> tuple[State, np.ndarray]:
    """Return the state with the strength of the penalty, and parameters to begin with: the minimum of the sample."""
    objective, theta = state.objective, state.iterate.theta
    chooses, exact = (
        chooses_penalty(state, plan, regression=found.targets is not None),
        isinstance(objective.loss, SquaredError),
    )
    in_sample, copies = state, copies_of(found.sample.y, found.sample.weight if found.whole else None).sum()
    if chooses and not has_many_rows(state):
        given = copies_of(found.sample.y, found.sample.weight if found.whole else None)
        in_sample, _ = with_chosen_penalty(state, Problem(objective, *sample), given)
        theta = in_sample.iterate.theta
        strength = in_sample.objective.alpha * copies
    else:
        strength = 1.0
    if chooses:
        state = replace(state, objective=replace(objective, alpha=float(strength / number_of_copies(found))))
    if state.t or exact or not objective.loss.smooth:
        return state, state.iterate.theta
    alpha = objective.alpha if not chooses else float(strength / copies)
    problem = Problem(replace(objective, alpha=alpha), *sample)
    start = problem.at(problem.parameters(theta))
    return state, problem.flat(minimum(problem, start, _CLOSE * start.value, _STEPS).parameters)


def number_of_copies(found: Survey) -> float:
    """Return the number of rows, of which weights that are whole numbers are copies."""
    return float(found.columns.weight if found.whole else found.columns.rows)


def _largest_curvature(state: State, sample: Data) -> float:
    """Return about the largest curvature of the data term, by some power iterations on the sample."""
    objective, (X, _, weight) = state.objective, sample
    Z = objective.coordinates.standardized(X).astype(np.float64)
    share = np.full(X.shape[0], 1.0 / X.shape[0]) if weight is None else weight / weight.sum()
    direction: Any = np.random.default_rng(0).normal(size=Z.shape[1])
    size = 0.0
    for _ in range(_POWER_ITERATIONS):
        direction = Z.T @ (share * (Z @ direction))
        size = float(np.sqrt(direction @ direction))
        direction /= size or 1.0
    return objective.loss.curvature * max(size, float(objective.fit_intercept), 1e-100)


def _lengths_of(state: State) -> np.ndarray:
    """Return how long a unit of each parameter is where the path is followed: shorter for rare features.

    Their gradients are small, so that gradient descent learns them last. AdaGrad, by which ``fit`` trains, learns them
    sooner: it divides by the root mean square, of which this is a power.
    """
    objective = state.objective
    squares = state.columns.mean_squares(objective.coordinates.center, objective.coordinates.scale)
    shares = np.maximum(squares / nonzero(squares.max()), _LEAST_SHARE)
    by_feature = np.repeat(shares[:, np.newaxis] ** _POWER_OF_LENGTH, objective.n_outputs, axis=1)
    return objective.join([(by_feature, np.ones(objective.n_outputs))], np.float64)


def _summary_of(state: State, evaluation: Evaluation) -> EpochSummary:
    """Return what an epoch says of itself."""
    objective, n_rows = state.objective, state.columns.rows
    losses = evaluation.losses * objective.unit
    record = np.array([[losses.sum(), evaluation.squared_gradient, (losses * objective.worth).sum()]])
    summary = summarized(n_rows * record, penalties_of(objective, evaluation.theta), n_rows)
    return summary._replace(decrement=evaluation.decrement)


def _highest(state: State, targets: tuple[np.ndarray, np.ndarray | None], of_outliers: float) -> float:
    """Return the objective, by its worth, of a constant model, or without intercepts of one that predicts zero."""
    if state.objective.fit_intercept:
        return 1.0 + of_outliers + 1e-9
    return value_of_zero(state, (np.zeros((0, 0)), *targets))


def _with_theta(state: State, theta: np.ndarray, total: Sums, t: int) -> State:
    """Return the state with other parameters, and what AdaGrad, with which a stream continues, would remember."""
    iterate = initial_iterate(theta.astype(state.dtype), state.optimizer, state.averaging)._replace(t=t)
    if isinstance(state.optimizer, AdaGrad):
        factor = state.columns.rows / state.columns.weight / STREAM_BATCH
        iterate = iterate._replace(slots=((factor**2 * total.squares).astype(state.dtype),))
    return replace(state, iterate=iterate)


def losses_and_score(
    state: State, plan: Plan, validation: Data | None, held_out: HeldOutSums | None
) -> tuple[np.ndarray, float]:
    """Return the losses and the score of the validation set, or of the rows that are held out."""
    if validation is not None:
        return evaluated(state, plan, validation)
    if held_out is None:
        raise ValueError("The sample weights of all samples that early_stopping=True held out are zero.")
    return held_out.mean_losses, held_out.mean_score
