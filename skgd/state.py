"""The state of a training: all that it resumes from, between any two of its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np

from skgd.combinations import CoMoments
from skgd.coordinates import ColumnStatistics
from skgd.engines import Engine, Iterate, initial_iterate, readout
from skgd.measuring import Matrix
from skgd.networks import Layer, initial_layers
from skgd.objective import Objective
from skgd.optimizers import Optimizer
from skgd.running import CODE, is_unknown, memory_of
from skgd.schedules import Schedule

Data: TypeAlias = tuple[Matrix, np.ndarray, np.ndarray | None]


def part_of(data: Data, rows: slice | np.ndarray) -> Data:
    """Return some of the samples, with their weights."""
    X, y, weight = data
    return X[rows], y[rows], None if weight is None else weight[rows]


@dataclass(eq=False)
class Past:
    """What the next epoch has to know of all earlier ones, of which the history may hold the latest only.

    It is replaced, never changed in place.
    """

    epochs: int = 0  # calls of ``partial_fit`` among them
    memory: Mapping[str, Any] = field(default_factory=dict)  # the schedule's, of what may be watched

    def followed_by(self, watched: Mapping[str, float], schedule: Schedule) -> Past:
        """Return the past after one more epoch, of which some values are watched."""
        if type(schedule).observe is Schedule.observe:
            return Past(self.epochs + 1)  # it has no memory
        memory = {key: schedule.observe(value, self.memory.get(key)) for key, value in watched.items()}
        return Past(self.epochs + 1, {**self.memory, **memory})


@dataclass
class State:
    """All that training resumes from, and nothing else. Its parts are replaced, never changed in place."""

    objective: Objective
    optimizer: Optimizer
    iterate: Iterate
    columns: ColumnStatistics
    targets: ColumnStatistics
    class_totals: np.ndarray
    engine: Engine = "vectorized"
    past: Past = field(default_factory=Past)
    together: CoMoments | None = None  # of the columns, in a stream that may combine them
    combined: ColumnStatistics | None = None  # of the combinations, where they take the place of the features
    on_demand: ClassVar[bool] = False  # whether fitted parameters are made when they are asked for

    @property
    def whole(self) -> State:
        """The state itself; see `skgd.stream.Stream`."""
        return self

    @property
    def t(self) -> int:
        """The number of steps taken."""
        return self.iterate.t

    @property
    def dtype(self) -> np.dtype:
        """The type of the parameters."""
        return self.iterate.theta.dtype

    @property
    def averaging(self) -> bool:
        """Whether an average of the iterates is kept."""
        return self.iterate.average is not None

    @property
    def comparing(self) -> bool:
        """Whether it is compared with the last iterate."""
        return self.iterate.slopes is not None

    def without_average(self) -> State:
        """Return the state that goes on from what the average has predicted."""
        iterate, optimizer = self.iterate, self.optimizer
        shown = readout(iterate, optimizer, self.objective)
        slots = optimizer.rebase(lambda _: shown, iterate.theta, iterate.slots, optimizer.hyper())
        iterate = iterate._replace(theta=shown, slots=slots, average=None, averaged=0, slopes=None)
        return replace(self, iterate=iterate)

    @property
    def _unknown(self) -> np.ndarray:
        """Whether the coefficients of each feature in a network are random, and have no unit yet."""
        return is_unknown(self.columns.largest, memory_of(self.columns)[CODE])

    def without(self, features: np.ndarray) -> State:
        """Return the state of a network in which some features start from scratch, with coefficients of zero."""

        def begun(vector: np.ndarray, start: float) -> np.ndarray:
            vector = vector.copy()
            self.objective.layers(vector)[0][0][features] = start
            return vector

        theta, slots, average, *_ = self.iterate
        slots = tuple(map(begun, slots, self.optimizer.initial()))
        average = None if average is None else begun(average, 0.0)
        return replace(self, iterate=self.iterate._replace(theta=begun(theta, 0.0), slots=slots, average=average))

    @property
    def as_shown(self) -> State:
        """The same with zeros for what is not shown, for a training that takes features in other units."""
        return self.without(self._unknown) if self.t and self.objective.hidden_layer_sizes else self

    def begun_at(self, layers: Sequence[Layer], objective: Objective, optimizer: Optimizer) -> State:
        """Return the state that goes on from layers in the user's units, with empty slots.

        Random coefficients that are not shown stay what they are, where these layers have zeros, as it was shown.
        """
        theta, columns = objective.from_user(layers, self.dtype), self.columns
        if objective.hidden_layer_sizes:
            given, random = (objective.layers(vector)[0][0] for vector in (theta, self.iterate.theta))
            memory, unknown = memory_of(columns), self._unknown
            told = given.any(axis=1)
            given[unknown & ~told] = random[unknown & ~told]
            memory[CODE, unknown & told] = np.inf
            columns = replace(columns, memory=memory)
        iterate = initial_iterate(theta, optimizer, False)._replace(t=self.t)
        return replace(self, objective=objective, optimizer=optimizer, columns=columns, iterate=iterate)

    def readout(self) -> list[Layer]:
        """Return the layers to predict with, in the user's units: those of features that nothing is known of are 0."""
        layers = self.objective.to_user(readout(self.iterate, self.optimizer, self.objective))
        if self.objective.hidden_layer_sizes:
            layers[0][0][self._unknown] = 0.0
        return layers

    def published(self) -> list[Layer]:
        """Return the layers to predict with, if they are finite numbers."""
        layers = self.readout()
        if not all(np.isfinite(part).all() for layer in layers for part in layer):
            raise ValueError(
                f"The coefficients cannot be represented in {self.dtype}: the scales of X and y are too different. "
                "Rescale y or features of X."
            )
        return layers


@dataclass(frozen=True)
class Approach:
    """How near the minimum training has come, by its checks, and what was changed to come nearer."""

    epoch: int = 0  # of the last check
    value: float = math.inf  # the lowest objective, by its worth, of all checks
    distance: float = math.inf  # the shortest
    suboptimality: float = math.nan  # of the last check: the distance relative to what there is to gain
    in_vain: int = 0  # checks since one that was better
    slowdown: float = 1.0  # of the rates
    growth: int = 1  # of the batches
    too_high: bool = False  # whether rates seem to be: the average is nearer the minimum than the last iterate


@dataclass(frozen=True)
class Progress:
    """Where ``fit`` stands between two epochs: from here, with the same data, it goes on to the same bits."""

    epoch: int  # of this fit
    entries: int  # of the history, which earlier calls may have begun
    iterate: Iterate
    best: float
    best_iterate: Iterate | None
    waited: int
    shuffler: Any  # the state of what draws the orders of samples
    stopped: bool = False
    past: Past = field(default_factory=Past)
    watched: tuple[float, ...] = ()  # what stopping has been told of each epoch
    approach: Approach = Approach()
    steps: int | None = None  # of this fit
    best_epoch: int = 0  # whose parameters best_iterate has
    best_score: float = math.nan
    width: float = 0.0  # of the intervals around kinks
    n_epochs: int | None = None  # as many as cross-validation has chosen
    n_trainings: int = 0  # of a network that started at the linear model, those of cross-validation among them


def start_state(
    objective: Objective,
    optimizer: Optimizer,
    dtype: type,
    n_classes: int,
    averaging: bool,
    random_state: np.random.RandomState,
) -> State:
    """Return the state before the first sample: all parameters of a linear model zero, those of a network random."""
    theta: np.ndarray = np.zeros(objective.n_parameters, dtype=dtype)
    if objective.hidden_layer_sizes:
        layers = initial_layers(objective.layer_sizes, objective.activation, random_state)
        theta = objective.join(layers, np.float64).astype(dtype)
    return State(
        objective,
        optimizer,
        initial_iterate(theta, optimizer, averaging),
        ColumnStatistics.empty(objective.n_features),
        ColumnStatistics.empty(objective.n_outputs),
        np.zeros(n_classes),
    )
