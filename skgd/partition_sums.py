"""What is computed of one partition, and how that of two partitions is merged.

All functions here are pure: they depend on their arguments alone, so that it does not matter where they are run, or
how often. What they return is small, except for a partition's own rows, and ``merged`` adds it to that of the next
partitions.

A partition is read and validated in each pass, because only one at a time is in memory. Its rows are processed in
pieces, so that no temporary array is large. BLAS uses one thread: the number of threads changes the last bits. Data
frames are in column-major order, which changes them, too: so pieces are brought in row-major order.

Why NumPy only: a worker that cannot compile would return other bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from operator import add
from threading import Lock
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import scipy.sparse as sp
from threadpoolctl import ThreadpoolController

from skgd.coordinates import ColumnStatistics
from skgd.curvature import Point, Problem
from skgd.losses import Loss, SquaredError
from skgd.measuring import Matrix, Measures, measure_columns
from skgd.networks import forward
from skgd.objective import Objective
from skgd.outliers import squares_of_rows, weight_of_row
from skgd.plan import Plan
from skgd.state import Data, part_of
from skgd.strategy import plain_repr
from skgd.validation import as_numpy
from skgd.workspace import Workspace

Rows: TypeAlias = tuple[Any, Any] | tuple[Any, Any, Any]  # X, y and perhaps the sample weights
Partition: TypeAlias = Rows | Callable[[], Rows]

_PIECE = 2**17  # entries of what is computed at once
_SAMPLE = 2**12  # rows
_SEED_OF_SAMPLE = 0
_ROWS_A_COLUMN = 100  # in the sample, as far as it does not become too large
_ENTRIES_OF_SAMPLE = 2**21
_FEW_COLUMNS = 500


class Mergeable(Protocol):
    """What a task returns of a partition."""

    def merged(self, other: Self) -> Self:
        """Return the same of the partitions of both, the other ones being later."""


M = TypeVar("M")


def in_tree(leaves: Iterable[M], merge: Callable[[M, M], M]) -> M | None:
    """Return all leaves merged in a binary tree that depends on their number only, or None where there are none.

    The order of additions, and so the bits of a sum, are always the same. No more than one result for each level of the
    tree is kept.
    """
    stack: list[tuple[int, M]] = []
    for leaf in leaves:
        level, merged = 0, leaf
        while stack and stack[-1][0] == level:
            merged = merge(stack.pop()[1], merged)
            level += 1
        stack.append((level, merged))
    if not stack:
        return None
    _, total = stack.pop()
    while stack:
        total = merge(stack.pop()[1], total)
    return total


def merge(one: Any, other: Any) -> Any:
    """Return what two tasks returned, merged; None is that of an empty partition."""
    if one is None or other is None:
        return other if one is None else one
    return one.merged(other)


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOut:
    """Which rows are held out for validation: each with this probability, by the numbers of its partition and row.

    Where nobody has ``chosen`` them, outliers count in their loss as they do in steps.
    """

    fraction: float
    seed: int
    chosen: bool = True

    def mask(self, number: int, n_rows: int) -> np.ndarray:
        """Return whether each row of a partition is held out."""
        return _draws(self.seed, number, n_rows) < self.fraction


def _draws(seed: int, number: int, n_rows: int) -> np.ndarray:
    """Return a random number for each row of a partition."""
    return np.random.default_rng((seed, number)).random(n_rows)


class Read(NamedTuple):
    """The validated rows of a partition, and the names of its columns."""

    X: Any
    y: np.ndarray
    weight: np.ndarray | None
    names: tuple[str, ...] | None


def read(reader: Any, partition: Partition, number: int) -> Read | None:
    """Return the rows of a partition, validated as the estimator ``reader`` does, or None where there are none."""
    try:
        rows: Any = partition() if callable(partition) else partition
    except Exception as error:
        error.add_note(f"This was raised by the function of partition {number}.")
        raise
    if not (isinstance(rows, tuple) and len(rows) in (2, 3)):
        raise TypeError(
            f"Partition {number} must be a tuple (X, y) or (X, y, sample_weight), or a function without parameters "
            f"that returns one, got {type(rows).__name__}."
        )
    X, y, weight = (*rows, None)[:3]
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    weighs_nothing = weight is not None and np.shape(weight) == (n_rows,) and not np.any(weight)
    if n_rows == 0 or weighs_nothing:
        return None
    of_partition = copy(reader)
    with naming(number):
        y = as_numpy(y, "y")
        if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1 and not sp.issparse(y):
            y = np.asarray(y).ravel()  # here, for a warning that it is a column would come from each partition and pass
        try:
            X, y, weight = of_partition._read(X, y, weight, False, True, order=None)
        except ValueError as error:
            raise ValueError(f"{error}{_where(X)}") from error
    names = getattr(of_partition, "feature_names_in_", None)
    return Read(X, y, weight, None if names is None else tuple(names))


@contextmanager
def naming(number: int) -> Iterator[None]:
    """Put the number of the partition before messages about it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"Partition {number}: {error}") from error


def _where(X: Any) -> str:
    """Return where X has its first value that is not finite, for an error message."""
    values = X.data if sp.issparse(X) and X.format == "csr" else X
    try:
        infinite = ~np.isfinite(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        return ""
    if not infinite.any():
        return ""
    place = np.argwhere(infinite)[0]
    if sp.issparse(X):
        place = [np.searchsorted(X.indptr, place[0], side="right") - 1, X.indices[place[0]]]
    return f" It is at sample {place[0]}, feature {place[1]}." if len(place) == 2 else ""


# ---------------------------------------------------------------------------------------------------------------------
# The statistics pass
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Rows drawn at random, without regard to their weights: those with the smallest random numbers, in order."""

    size: int
    draws: np.ndarray
    X: Matrix
    y: np.ndarray
    weight: np.ndarray | None

    @classmethod
    def of(cls, data: Data, draws: np.ndarray, n_more: int) -> Sample:
        """Return the sample of one partition, from random numbers of its rows, and some rows more."""
        X, *_ = data
        n_columns = X.shape[1]
        size = _SAMPLE
        if n_columns <= _FEW_COLUMNS or isinstance(X, np.ndarray):
            most = max(_ENTRIES_OF_SAMPLE // n_columns, 64)
            size, n_more = min(max(size, _ROWS_A_COLUMN * (n_columns + 1)), most), min(n_more, most)
        size += n_more
        kept = cls._kept(draws, size)
        X, y, weight = part_of(data, kept)
        return cls(size, draws[kept], row_major(X), y, weight)

    def parted(self, fraction: float) -> tuple[Sample, Sample]:
        """Return those of the rows that are held out with this probability, see `of_sample`, and the other ones."""
        held_out = self.draws < fraction
        data = self.X, self.y, self.weight
        parts = ((self.draws[rows], *part_of(data, rows)) for rows in (held_out, ~held_out))
        first, second = (Sample(self.size, *part) for part in parts)
        return first, second

    @staticmethod
    def _kept(draws: np.ndarray, size: int) -> np.ndarray:
        if len(draws) <= size:
            return np.arange(len(draws))
        return np.sort(np.argpartition(draws, size)[:size])

    def merged(self, other: Sample) -> Sample:
        """Return the sample of the rows of both."""
        draws = np.concatenate([self.draws, other.draws])
        kept = self._kept(draws, self.size)
        X: Any = (self.X, other.X)
        X = np.concatenate(X) if isinstance(self.X, np.ndarray) else sp.csr_array(sp.vstack(X, format="csr"))
        y, weight = np.concatenate([self.y, other.y])[kept], None
        if self.weight is not None or other.weight is not None:
            parts = (np.ones(len(p.y)) if p.weight is None else p.weight for p in (self, other))
            weight = np.concatenate(list(parts))[kept]
        return Sample(self.size, draws[kept], X[kept], y, weight)


@dataclass(frozen=True)
class Survey:
    """What there is to know of partitions before the first step: kinds, statistics, classes, and a sample of rows."""

    number: int  # of the first partition
    names: tuple[str, ...] | None
    columns: ColumnStatistics
    targets: ColumnStatistics | None  # of numbers
    labels: np.ndarray | None  # of one column, with their total weights
    totals: np.ndarray
    n_held_out: int
    whole: bool  # whether weights are whole numbers, so that they are numbers of copies
    sample: Sample

    @property
    def dtype(self) -> np.dtype:
        """The type of X."""
        return self.sample.X.dtype

    @property
    def sparse(self) -> bool:
        """Whether X is a sparse matrix."""
        return not isinstance(self.sample.X, np.ndarray)

    def merged(self, other: Survey) -> Survey:
        """Return the survey of the partitions of both, if they are of one kind."""
        self._check_alike(other)
        labels, totals = self.labels, self.totals
        if labels is not None and other.labels is not None:
            labels, position = np.unique(np.concatenate([labels, other.labels]), return_inverse=True)
            totals = np.bincount(position, np.concatenate([totals, other.totals]), len(labels))
        elif len(totals):
            totals = totals + other.totals
        return Survey(
            self.number,
            self.names,
            self.columns.merged(other.columns),
            None if self.targets is None or other.targets is None else self.targets.merged(other.targets),
            labels,
            totals,
            self.n_held_out + other.n_held_out,
            self.whole and other.whole,
            self.sample.merged(other.sample),
        )

    def _check_alike(self, other: Survey) -> None:
        def kind(labels: np.ndarray | None) -> str | None:
            return None if labels is None else "numbers" if labels.dtype.kind in "biuf" else "text"

        compared = {
            "the number of features": (self.sample.X.shape[1], other.sample.X.shape[1]),
            "feature names": (self.names, other.names),
            "the dtype of X": (self.dtype.name, other.dtype.name),
            "whether X is sparse": (self.sparse, other.sparse),
            "the shape of a sample's y": (self.sample.y.shape[1:], other.sample.y.shape[1:]),
            "the kind of labels": (kind(self.labels), kind(other.labels)),
        }
        for what, (mine, its) in compared.items():
            if mine != its:
                raise ValueError(
                    f"Partitions {self.number} and {other.number} disagree about {what}: {plain_repr(mine)} and "
                    f"{plain_repr(its)}. Convert them to the same."
                )


def of_sample(fraction: float) -> HeldOut:
    """Return which rows are held out where they are part of the sample: those with the smallest random numbers."""
    return HeldOut(fraction, _SEED_OF_SAMPLE, chosen=False)


def survey(
    partition: Partition, number: int, reader: Any, loss: Loss, held_out: HeldOut | None, n_more: int = 0
) -> Survey | None:
    """Return the statistics of one partition, without the rows that are held out, its classes, and its sample.

    ``n_more`` is by how many rows the sample is larger than usual.
    """
    rows = read(reader, partition, number)
    if rows is None:
        return None
    X, y, weight, names = rows
    totals = np.zeros(0)
    with naming(number):
        loss.check_target(y)
        labels = reader._labels_in(y)
    n_held_out, draws = 0, _draws(_SEED_OF_SAMPLE, number, len(y))
    if held_out is not None:
        mask = held_out.mask(number, len(y))
        n_held_out = int(np.count_nonzero(mask))
        (X, y, weight), draws = part_of((X, y, weight), ~mask), draws[~mask]
    if weight is not None:
        draws = draws[weight != 0.0]
    X, y, weight = without_zeros((X, y, weight))
    if not len(y):
        return None
    if labels is not None:
        totals = np.bincount(labels.searchsorted(y), weight, len(labels)).astype(np.float64)
    targets = None
    if reader._target_dtype is not None:
        columns = y.reshape(len(y), -1)
        targets = ColumnStatistics.empty(columns.shape[1]).updated(columns, weight)
    elif labels is None:  # the totals of each label of a multilabel y
        totals = (np.ones(len(y)) if weight is None else weight) @ (y != 0)
    return Survey(
        number,
        names,
        _statistics(X, weight),
        targets,
        labels,
        totals,
        n_held_out,
        bool(weight is None or (weight == np.rint(weight)).all()),
        Sample.of((X, y, weight), draws, n_more),
    )


def _statistics(X: Matrix, weight: np.ndarray | None) -> ColumnStatistics:
    """Return the statistics of the columns of one partition."""
    workspace = Workspace()

    def measure(X: Matrix, weight: np.ndarray | None, total: float, largest: np.ndarray) -> Measures:
        return measure_columns(row_major(X), weight, total, largest, workspace)

    return ColumnStatistics.empty(X.shape[1]).updated(X, weight, measure, exact=True)


def without_zeros(data: Data) -> Data:
    """Return the rows whose weight is not zero."""
    X, y, weight = data
    if weight is None or weight.all():
        return data
    kept = np.flatnonzero(weight)
    return X[kept], y[kept], weight[kept]


# ---------------------------------------------------------------------------------------------------------------------
# What all later passes know
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What a pass knows of the whole: how to read and to weigh a partition, and the objective.

    ``weight`` is that of all rows, with the weights of their classes. ``limit`` is the square of the standardized norm
    up to which a row has its whole weight.
    """

    reader: Any
    plan: Plan
    dtype: np.dtype
    class_totals: np.ndarray
    objective: Objective
    weight: float
    held_out: HeldOut | None
    limit: float = np.inf

    def rows(self, partition: Partition, number: int) -> tuple[Data, Data | None] | None:
        """Return the rows of a partition to train on, with the weights of their classes, and those held out."""
        read_rows = read(self.reader, partition, number)
        if read_rows is None:
            return None
        X, y, weight, _ = read_rows
        del read_rows
        with naming(number):
            if X.shape[1] != self.objective.n_features:
                raise ValueError(f"X has {X.shape[1]} features, but had {self.objective.n_features} before.")
            y = self.reader._encode(y, "y")
        X = X.astype(self.dtype, copy=False)
        held_out: Data | None = None
        if self.held_out is not None:
            mask = self.held_out.mask(number, len(y))
            held_out = without_zeros(part_of((X, y, weight), mask))
            X, y, weight = part_of((X, y, weight), ~mask)
        X, y, weight = without_zeros((X, y, weight))
        return (X, y, self.plan.row_weights(y, weight, self.class_totals)), held_out


@dataclass(frozen=True)
class WeightedColumns:
    """The statistics of the columns, where classes have weights."""

    columns: ColumnStatistics

    def merged(self, other: WeightedColumns) -> WeightedColumns:
        """Return those of the partitions of both."""
        return WeightedColumns(self.columns.merged(other.columns))


def weighted_columns(partition: Partition, number: int, known: Known) -> WeightedColumns | None:
    """Return the statistics of one partition's columns with the weights of classes."""
    rows = known.rows(partition, number)
    if rows is None or not len(rows[0][1]):
        return None
    X, _, weight = rows[0]
    return WeightedColumns(_statistics(X, weight))


# ---------------------------------------------------------------------------------------------------------------------
# Sums of the objective
# ---------------------------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """Where to compute the sums, whether with the Hessian, and the half width of the interval around kinks.

    ``others`` are parameters at which only the losses are asked for.
    """

    theta: np.ndarray
    newton: bool
    width: float = 0.0
    others: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Sums:
    """Sums over rows, each with its share of the weight of all: losses by output, gradient, and what else is asked for.

    ``share`` is the sum of these, which is less than one where rows are held out. ``squares`` are those of the
    gradients of rows, ``smoothing`` how much means around kinks are above the losses, ``others`` the losses at other
    parameters, and ``held_out`` the sums over the rows that are held out.
    """

    share: float
    losses: np.ndarray
    gradient: np.ndarray
    squares: np.ndarray
    smoothing: np.ndarray | float = 0.0
    hessians: tuple[np.ndarray, ...] = ()
    others: tuple[float, ...] = ()
    held_out: HeldOutSums | None = None

    def merged(self, other: Sums) -> Sums:
        """Return the sums over the rows of both."""
        return Sums(
            self.share + other.share,
            self.losses + other.losses,
            self.gradient + other.gradient,
            self.squares + other.squares,
            self.smoothing + other.smoothing,
            tuple(map(add, self.hessians, other.hessians)),
            tuple(map(add, self.others, other.others)),
            merge(self.held_out, other.held_out),
        )

    def means(self) -> Sums:
        """Return the means over these rows, where others are held out."""
        by = self.share
        return replace(
            self,
            losses=self.losses / by,
            gradient=self.gradient / by,
            smoothing=self.smoothing / by,
            hessians=tuple(hessian / by for hessian in self.hessians),
            others=tuple(loss / by for loss in self.others),
        )


@dataclass(frozen=True)
class HeldOutSums:
    """Sums over rows that are held out: losses by output, and what a score is made of.

    ``score`` has the weight of rows predicted right, and of all, or by target the weight, the sums of the target and of
    its square, from its center, and that of squared errors.
    """

    losses: np.ndarray
    weight: float
    score: np.ndarray

    def merged(self, other: HeldOutSums) -> HeldOutSums:
        """Return the sums over the rows of both."""
        return HeldOutSums(self.losses + other.losses, self.weight + other.weight, self.score + other.score)

    @property
    def mean_losses(self) -> np.ndarray:
        """The mean loss by output."""
        return self.losses / self.weight

    @property
    def mean_score(self) -> float:
        """The accuracy, or R²."""
        if self.score.ndim == 1:
            return float(self.score[0] / self.score[1])
        total, first, second, error = self.score
        spread = second - first * first / total
        return float(np.mean(np.where(spread > 0.0, 1.0 - error / np.where(spread > 0.0, spread, 1.0), error == 0.0)))


def sums(partition: Partition, number: int, known: Known, request: Request) -> Sums | None:
    """Return the sums over one partition."""
    rows = known.rows(partition, number)
    if rows is None:
        return None
    data, held_out = rows
    del rows
    with one_thread(), np.errstate(all="ignore"):
        of_rows = (_sums_with_hessians if request.newton else _sums)(known, request, data)
        if held_out is not None and len(held_out[1]):
            of_rows = replace(of_rows, held_out=_held_out_sums(known, request.theta, held_out))
    return of_rows


def row_major(X: Any) -> Any:
    """Return a dense array in row-major order, and a sparse one as it is."""
    return np.ascontiguousarray(X) if isinstance(X, np.ndarray) else X


def _pieces(X: Matrix, y: np.ndarray, weight: np.ndarray | None, width: float, entries: int = _PIECE) -> Iterator[Data]:
    size = max(64, int(entries / max(width, 1.0)))
    for start in range(0, max(X.shape[0], 1), size):
        yield part_of((X, y, weight), slice(start, start + size))


def _sums_with_hessians(known: Known, request: Request, data: Data) -> Sums:
    # Without a penalty, which is no part of sums over rows.
    objective, n_outputs = replace(known.objective, alpha=0.0), known.objective.n_outputs
    shared = isinstance(objective.loss, SquaredError)  # one Hessian for all outputs
    total: Any = None
    problem, workspace = None, Workspace()
    entries = max(objective.n_features + 1, n_outputs**2 if objective.loss.normalized else n_outputs)
    for X, y, weight in _pieces(*data, entries):
        X = X if isinstance(X, np.ndarray) else X.toarray()
        if known.limit < np.inf:
            weight = _with_limit(known, weight, squares_of_rows(X, objective.coordinates))
        if problem is None:
            problem = Problem(objective, X, y, weight, known.weight, workspace)
            problem.width = request.width
            parameters = problem.parameters(request.theta)
            together = np.hstack([problem.matrix(theta) for theta in (request.theta, *request.others)])
        else:
            problem = problem.of_rows(X, y, weight, known.weight)
        predictions = problem.rows @ together
        raw, *others = (predictions[:, start : start + n_outputs] for start in range(0, together.shape[1], n_outputs))
        curvatures, share = problem.curvatures(raw), problem.share
        slopes = (known.weight * share[:, np.newaxis] * problem.slopes(raw)) @ problem.basis.T
        piece = Sums(
            float(share.sum()),
            share @ problem.losses(raw),
            problem.gradient(Point(parameters, raw, np.nan)),
            problem.joined(_squared(problem.rows, workspace).T @ np.square(slopes)),
            share @ problem.smoothing(raw) if request.width else 0.0,
            tuple(problem.hessians(curvatures[:, :1] if shared else curvatures)),
            tuple(float((share @ problem.losses(each)).sum()) for each in others),
        )
        total = merge(total, piece)
    return total


def _sums(known: Known, request: Request, data: Data) -> Sums:
    objective = known.objective
    [(coef, intercept)] = objective.layers(request.theta)
    n_outputs = objective.n_outputs
    total, losses = 0.0, np.zeros(n_outputs)
    by_parameter, squared = np.zeros((2, len(request.theta)))  # new pages of which those that stay zero take no time
    [(gradient, slope)], [(squares, slopes_squared)] = map(objective.layers, (by_parameter, squared))
    X, workspace = data[0], Workspace()
    entries = X.shape[1] if isinstance(X, np.ndarray) else X.nnz / max(X.shape[0], 1)
    # Each piece adds to all of the gradient, so that it is as large where the rows are sparse.
    for X, y, weight in _pieces(*data, max(entries, n_outputs), max(_PIECE, len(request.theta))):
        Z = objective.coordinates.standardized(X, workspace)
        Z = workspace.doubled(Z) if isinstance(Z, np.ndarray) else Z.astype(np.float64, copy=False)
        Z_squared = _squared(Z, workspace)
        if known.limit < np.inf:
            weight = _with_limit(known, weight, Z_squared.sum(axis=1))
        raw = objective.normalized(objective.predictor(Z @ coef + intercept))
        target = objective.target(y)
        share = (np.ones(len(y)) if weight is None else weight)[:, np.newaxis] / known.weight
        total += float(share.sum())
        losses += (share * objective.loss_values(target, raw)).sum(axis=0)
        slopes = share * objective.loss_gradients(target, raw)
        slope += slopes.sum(axis=0)
        gradient += Z.T @ slopes
        slopes *= known.weight
        slopes_squared += np.square(slopes).sum(axis=0)
        squares += Z_squared.T @ np.square(slopes)
    return Sums(total, losses, by_parameter, squared)


def _with_limit(known: Known, weight: np.ndarray | None, squares: np.ndarray) -> np.ndarray:
    """Return the weights of rows where those far from all others count less, from the squares of their norms."""
    counts = weight_of_row(squares, known.limit)
    return counts if weight is None else counts * weight


def _squared(Z: Matrix, workspace: Workspace) -> Matrix:
    if not isinstance(Z, np.ndarray):
        return Z.power(2)
    return np.square(Z, out=workspace.array("squared", Z.shape))


def held_out_sums(partition: Partition, number: int, known: Known, theta: np.ndarray) -> HeldOutSums | None:
    """Return the sums over the rows of one partition that are held out."""
    rows = known.rows(partition, number)
    if rows is None or rows[1] is None or not len(rows[1][1]):
        return None
    with one_thread(), np.errstate(all="ignore"):
        return _held_out_sums(known, theta, rows[1])


def _held_out_sums(known: Known, theta: np.ndarray, data: Data) -> HeldOutSums:
    (X, y, given), objective = data, known.objective
    X = row_major(X)
    weight = known.plan.row_weights(y, given, known.class_totals)
    if known.limit < np.inf and known.held_out is not None and not known.held_out.chosen:
        weight = _with_limit(known, weight, squares_of_rows(X, objective.coordinates))
    total = float(len(y) if weight is None else weight.sum())
    losses = objective.mean_losses(theta, X, y, weight) * total
    *_, raw = forward(objective.to_user(theta), X, objective.activation)
    given = np.ones(len(y)) if given is None else given
    if y.dtype.kind != "f":
        if y.ndim == 2:  # multilabel: all labels of a row have to be right
            right = ((raw > 0.0) == y).all(axis=1)
        else:
            right = (raw[:, 0] > 0.0 if raw.shape[1] == 1 else raw.argmax(axis=1)) == y
        return HeldOutSums(losses, total, np.array([given @ right, given.sum()]))
    predicted = np.exp(raw) if objective.loss.log_link else raw
    center = 0.0 if objective.loss.log_link else objective.coordinates.target_center
    offset = y - center
    score = [np.full(y.shape[1], given.sum()), given @ offset, given @ offset**2, given @ (y - predicted) ** 2]
    return HeldOutSums(losses, total, np.array(score))


# ---------------------------------------------------------------------------------------------------------------------
# One thread
# ---------------------------------------------------------------------------------------------------------------------

_lock = Lock()
_holders = 0
_limits: Any = None


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()  # to look for libraries takes milliseconds, and those of NumPy and SciPy are there


@contextmanager
def one_thread() -> Iterator[None]:
    """Have BLAS use one thread, also where several threads of Python do so at once: the last one ends it."""
    global _holders, _limits
    with _lock:
        if _holders == 0:
            _limits = _threads().limit(limits=1)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _limits.restore_original_limits()
