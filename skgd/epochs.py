"""Epochs of mini-batches, in which batches and orders, with which engine, features and learning rates."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.automatic import average_every, base_rate, batch_size, optimizer_of_network
from skgd.engines import USUAL_EPOCHS, EpochSummary, choose
from skgd.engines.vectorized import penalties_of, summarized
from skgd.optimizers import laziness_of
from skgd.packing import Packing
from skgd.plan import Plan
from skgd.state import Approach, Data, State
from skgd.steps import Batches, Orders, rates_of, run

_STEPS_OF_NETWORK = 300  # at least, to expect


class Epochs:
    """How the epochs of one ``fit`` are taken: in which batches and orders, with which engine, columns and rates.

    With ``n_trainings``, of cross-validation, the first epoch takes no step: it tells how good the model is that
    training starts at.
    """

    width = 0.0  # of the intervals around kinks, which Newton's steps have

    def __init__(
        self,
        state: State,
        plan: Plan,
        data: Data,
        random_state: np.random.RandomState,
        n_epochs: int = USUAL_EPOCHS,
        *,
        n_trainings: int = 0,
    ):
        _, y, _ = data
        self._plan, self.data = plan, data
        self._evaluates_start = n_trainings > 0
        self._size = batch_size(state, plan, regression=y.dtype.kind == "f")
        self._packing: Packing | None = None
        self.n_steps = -(-len(y) // self._size)
        self.orders = Orders(plan, len(y), self._size, random_state)
        n_epochs = max(n_epochs, _STEPS_OF_NETWORK // self.n_steps) if n_trainings else n_epochs
        self._n_epochs = min(plan.max_iter, n_epochs) * max(n_trainings, 1)

    def begin(self, state: State, *, from_zero: bool, width: float) -> State:
        """Return the state that these epochs change; ``from_zero``, if they are the first of its parameters."""
        X, y, weight = self.data
        state.engine = choose(
            state.optimizer,
            state.objective,
            n_epochs=self._n_epochs,
            n_steps=self.n_steps,
            n_entries=X.size,
        )
        packs = not isinstance(X, np.ndarray) and X.nnz > 0 and not state.objective.hidden_layer_sizes
        if state.engine == "compiled" and packs and from_zero and laziness_of(state.optimizer) == "rest":
            self._packing = Packing.by_frequency(state, X)
            state, self.data = self._packing.packed(state), (self._packing.rows(X), y, weight)
        self._base, self._longest = base_rate(state, self._plan, from_linear_model=self._evaluates_start)
        state.optimizer = optimizer_of_network(state, self._plan, X, self._base, self.n_steps)
        return state

    def whole(self, state: State) -> State:
        """Return the state for all columns."""
        return state if self._packing is None else self._packing.unpacked(state)

    def take(
        self, state: State, number: int, approach: Approach, memory: Any, n_epochs: int = 1
    ) -> tuple[Batches, float, EpochSummary]:
        """Take an epoch, or several; return batches, last rate and summary.

        ``memory`` is what the schedule remembers.
        """
        if number == 1 and self._evaluates_start:
            return self._start(state, memory)
        order = np.concatenate([self.orders.draw() for _ in range(n_epochs)]) if n_epochs > 1 else self.orders.draw()
        size = min(self._size * approach.growth, len(order))
        batches = Batches(*self.data, order, size)
        rates = approach.slowdown * rates_of(self._base, state, self._plan, -(-len(order) // size), memory)
        longest = None if self._longest is None else min(approach.slowdown, 1.0) * self._longest
        network = bool(self._plan.hidden_layer_sizes)
        every = average_every(size, state.columns, network=network) if state.averaging else 1
        summary = run(state, self._plan, batches, rates, longest, every, f"epoch {number}")
        return batches, float(rates[-1]), summary

    def _start(self, state: State, memory: Any) -> tuple[Batches, float, EpochSummary]:
        """Return what there is to say of the model that training starts at, which counts as a step."""
        objective, (X, y, weight), rows = state.objective, self.data, slice(None)
        batch = objective.chunks(X, y, weight, rows)
        value, gradient, _ = objective.value_and_gradient(state.iterate.theta, batch)
        losses = value * objective.unit
        record = [losses.sum(), *objective.squared_norms(gradient), (losses * objective.progress_worth).sum()]
        n_rows, penalties = len(y), penalties_of(objective, state.iterate.theta)
        rate = rates_of(self._base, state, self._plan, 1, memory)[0]
        state.iterate = state.iterate._replace(t=state.t + 1)
        summary = summarized(n_rows * np.array([record]), penalties, n_rows)
        return Batches(*self.data, np.arange(n_rows), n_rows), float(rate), summary
