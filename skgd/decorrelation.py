r"""Linear combinations of correlated columns, in which gradient descent comes to the minimum soon.

Where features are correlated, the objective's curvature differs from direction to direction: steps that are right for
the steepest are far too short for the others. With the second moments :math:`R` of the standardized columns, in which
rows weigh as much as their loss is curved near the minimum, and the diagonal matrix :math:`D` of the penalty,
combinations :math:`W` are taken for which :math:`W^\top (R + D) W` is the identity and :math:`W^\top D W` diagonal. In
these coordinates, the curvature is about one in all directions, and the L2 penalty is still a sum over coefficients.
Each combination is then handed on in such units that this is the same penalty on its coefficient as on those of the
columns, and training goes on as on any other columns.

Directions in which features differ by rounding only, as duplicated ones do, are left out. An L1 penalty is none on
combinations: with it, features stay what they are.

A stream does the same with the second moments of the samples so far, all of the same weight in the curvature, where
steps are implicit: others are too long for samples that lie far out in a combination that hardly varied so far.

References
----------
G. H. Golub and C. F. Van Loan, "Matrix Computations", 2013, section 8.7 (simultaneous diagonalization).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from skgd.automatic import alpha_for, may_decorrelate
from skgd.combinations import Combinations, CoMoments, diagonalizing, have_grown
from skgd.coordinates import ColumnStatistics, Coordinates
from skgd.curvature import Problem
from skgd.engines import initial_iterate
from skgd.losses import SquaredError
from skgd.measuring import Matrix
from skgd.objective import Objective, penalty_rates
from skgd.optimizers import Optimizer
from skgd.penalty import minimum
from skgd.plan import Plan
from skgd.running import FALLEN, REACH, learned, memory_of
from skgd.state import Data, State

_CONDITION = 200.0  # of the second moments, from which features count as correlated
_STEPS = 5  # of Newton's, after which the curvature is about that at the minimum
_STALE = 10.0  # of the second moments, from which combinations of a stream are recomputed
_ROWS = 20  # of a stream, for each feature, before correlations are looked at
_EVERY = 8  # batches of a stream, one is enough for features that were not correlated so far
_FEW_COLUMNS = 100  # of a stream: each sample costs the square of the number
_LITTLE = 0.01  # of each sample counts alike: those far from a border, or in tails, have no curvature


class Decorrelation:
    """Uncorrelated combinations of the features of one ``fit``, and the states that go with either.

    Parameters
    ----------
    objective : Objective
        That of the features of X.
    features : ColumnStatistics
        Theirs.
    center : ndarray of shape (n_features,)
        What is subtracted from the features first.
    matrix : ndarray of shape (n_features, n_combinations)
        What they are multiplied by then.
    """

    def __init__(self, objective: Objective, columns: ColumnStatistics, center: np.ndarray, matrix: np.ndarray):
        self._objective, self._columns, self._center = objective, columns, center
        lengths = np.sqrt(np.square(matrix).sum(axis=0))
        self.scale = 1.0 / lengths if objective.alpha else np.ones(len(lengths))  # where the curvature is one
        self._matrix = matrix * self.scale
        self._inverse = np.linalg.pinv(self._matrix)

    def rows(self, X: np.ndarray) -> np.ndarray:
        """Return the combinations of the features of X."""
        return ((X - self._center) @ self._matrix).astype(X.dtype, copy=False)

    def begun(self, state: State) -> State:
        """Return the state of the same model before it has seen the combinations."""
        n_features = self._matrix.shape[1]
        objective = replace(state.objective, n_features=n_features, coordinates=Coordinates())
        [(coef, intercept)] = state.readout()
        start = self._inverse @ coef, intercept + self._center @ coef
        iterate = initial_iterate(objective.from_user([start], state.dtype), state.optimizer, state.averaging)
        return replace(
            state,
            objective=objective,
            iterate=iterate._replace(t=state.t),
            columns=ColumnStatistics.empty(n_features),
        )

    def whole(self, state: State) -> State:
        """Return the state for the features of X."""
        inner, outer = state.objective, replace(self._objective, worth=state.objective.worth)

        def moved(theta: np.ndarray) -> np.ndarray:
            [(coef, intercept)] = inner.to_user(theta.astype(np.float64))
            coef = self._matrix @ coef
            return outer.from_user([(coef, intercept - self._center @ coef)], theta.dtype)

        theta, slots, average, *_ = state.iterate
        average = None if average is None else moved(average)
        slots = tuple(map(self._slot_of(inner), slots))
        iterate = state.iterate._replace(theta=moved(theta), slots=slots, average=average)
        return replace(state, objective=outer, columns=self._columns, iterate=iterate)

    def _slot_of(self, inner: Objective) -> Callable[[np.ndarray], np.ndarray]:
        """Return what makes a slot for the features of X: what gradients, or their squares, leave there, nearly."""
        of_inner, of_outer = (np.asarray(part.coordinates.scale) for part in (inner, self._objective))
        matrix = self._inverse.T * of_inner / of_outer[:, np.newaxis]

        def moved(slot: np.ndarray) -> np.ndarray:
            [(coef, intercept)] = inner.layers(slot)
            coef = matrix @ coef if (coef < 0.0).any() else np.square(matrix) @ coef
            return self._objective.join([(coef, intercept)], slot.dtype)

        return moved


def decorrelation_of(state: State, plan: Plan, data: Data) -> Decorrelation | None:
    """Return combinations of the features that are not correlated, if the features are, and few, and dense."""
    objective, (X, _, _) = state.objective, data
    if not isinstance(X, np.ndarray) or objective.hidden_layer_sizes or not plan.precondition:
        return None
    if not (_keeps_penalty(objective) and _keeps_slots(state.optimizer) and may_decorrelate(objective, X)):
        return None
    problem, n_columns = Problem(objective, *data), X.shape[1]
    rows, (share, curvature) = problem.rows[:, :n_columns], _shares_of_curvature(problem, state)
    center = share @ rows if objective.fit_intercept else np.zeros(n_columns)
    rows = rows - center
    moments = rows.T @ (share[:, np.newaxis] * rows)
    penalty = problem.l2[:n_columns].mean(axis=1) / curvature
    combinations = diagonalizing(moments, penalty, max(X.shape), _CONDITION)
    if combinations is None:
        return None
    scale = np.asarray(objective.coordinates.scale)
    center = objective.coordinates.center + scale * center
    return Decorrelation(objective, state.columns, center, combinations / scale[:, np.newaxis])


def _keeps_penalty(objective: Objective) -> bool:
    """Say whether the penalty is, on combinations, still one on coefficients of the columns, or none."""
    return not (objective.alpha and (objective.l1_ratio or objective.standardized_penalty))


def _keeps_slots(optimizer: Optimizer) -> bool:
    """Say whether slots hold gradients only, and steps depend on nothing else."""
    return type(optimizer).rebase is Optimizer.rebase and not optimizer.weight_decay


def follows_correlations(objective: Objective, optimizer: Optimizer, plan: Plan, X: Matrix) -> bool:
    """Say whether a stream of such rows keeps the co-moments of the columns, to combine them if they are correlated."""
    penalized_by_l1 = objective.l1_ratio and plan.alpha != "auto" and plan.alpha
    return (
        isinstance(X, np.ndarray)
        and 1 < X.shape[1] <= _FEW_COLUMNS
        and plan.precondition
        and not objective.hidden_layer_sizes
        and not penalized_by_l1
        and optimizer.implicit
        and _keeps_slots(optimizer)
    )


def no_moments(columns: ColumnStatistics) -> CoMoments:
    """Return the co-moments of no samples of a stream with such features."""
    return CoMoments.begin(columns.largest, _ROWS * len(columns.largest))


def stride_of(together: CoMoments, combinations: Combinations | None) -> int:
    """Return of how many batches one is merged into the co-moments, with as many times its weight."""
    looked_at = together.due > _ROWS * len(together.unit)
    return _EVERY if looked_at and combinations is None else 1


def combined(
    state: State, plan: Plan, X: Matrix, counted: Matrix, weight: np.ndarray | None, *, bounded: bool
) -> tuple[State, Combinations | None]:
    """Return the state of a stream with what new samples say of its co-moments, and the combinations to take.

    The state has the statistics of its columns with these rows, and of the combinations, if there are any. ``counted``
    are the samples as they count in statistics of features, where these are bounded, see `skgd.running`.
    """
    combinations = state.objective.coordinates.combinations
    if not follows_correlations(state.objective, state.optimizer, plan, X):
        return replace(state, together=None, combined=None), None
    coded = bool((memory_of(state.columns)[8] == np.inf).any())
    together = state.together or no_moments(state.columns)
    together = together.updated(counted, weight, stride_of(together, combinations), state.t)
    if together.rows >= together.due and _are_forgotten(together, state.columns):
        together = replace(no_moments(state.columns), variances=together.variances)
    if together.rows < together.due:
        if combinations is None or state.combined is None:
            return replace(state, together=together), None
        statistics, _ = learned(state.combined, combinations.rows(X), weight, REACH, bounded=bounded, coded=coded)
        if have_grown(statistics.variance, together.variances).any():
            together = replace(together, due=together.rows)
        return replace(state, together=together, combined=statistics), combinations
    together = replace(together, due=2 * together.rows)
    taken = _apt_combinations(replace(state, together=together, combined=None), plan)
    if taken is None:
        return replace(state, together=together, combined=None), None
    moments = taken.means_and_variances(together)
    if taken is combinations and state.combined is not None:
        statistics, _ = learned(state.combined, taken.rows(X), weight, REACH, bounded=bounded, coded=coded)
    else:
        statistics = ColumnStatistics.of_moments(state.columns, *moments)
    return replace(state, together=replace(together, variances=statistics.variance), combined=statistics), taken


def _are_forgotten(together: CoMoments, columns: ColumnStatistics) -> bool:
    """Say whether co-moments are of samples that statistics forgot: outliers among the first ones, or another unit.

    Combinations would be those of such samples, and hide how others differ.
    """
    deviation = np.sqrt(np.diag(together.products) / together.weight) * together.unit
    return bool((~columns.constant & (columns.standard_deviation < FALLEN * deviation)).any())


def _apt_combinations(state: State, plan: Plan) -> Combinations | None:
    """Return the combinations that a stream is to go on with: those it has, if they are good enough, or others."""
    objective = replace(state.objective, alpha=alpha_for(state, plan))
    coordinates, together, centered = objective.coordinates, state.together, objective.fit_intercept
    if together is None or not _keeps_penalty(objective):
        return None
    if coordinates.combinations is not None and coordinates.combinations.are_apt(together, _STALE, centered=centered):
        return coordinates.combinations
    of_target = np.broadcast_to(coordinates.target_scale, objective.n_outputs), objective.unit
    _, factors = penalty_rates(objective.alpha, 0.0, together.unit[:, np.newaxis], *of_target)
    penalty = factors.mean(axis=1) / objective.loss.curvature
    return Combinations.of_moments(together, penalty, centered=centered, condition=_CONDITION)


def _shares_of_curvature(problem: Problem, state: State) -> tuple[np.ndarray, float]:
    """Return each sample's share of the objective's curvature near the minimum, and the mean curvature."""
    loss = problem.objective.loss
    if isinstance(loss, SquaredError) or not (loss.smooth or loss.smoothable):
        return problem.share, loss.curvature
    problem.width = 0.0 if loss.smooth else 1.0
    point = minimum(problem, problem.at(problem.parameters(state.iterate.theta)), 0.0, _STEPS)
    curvatures = problem.curvatures(point.raw)
    if problem.coupled:
        curvatures = np.einsum("ijj->ij", curvatures)
    weights = problem.share * curvatures.mean(axis=1)
    mean = float(weights.sum())
    if not 0.0 < mean < np.inf:
        return problem.share, loss.curvature
    return (1.0 - _LITTLE) * weights / mean + _LITTLE * problem.share, mean
