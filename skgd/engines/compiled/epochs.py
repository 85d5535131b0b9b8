"""An epoch in compiled loops: what goes in, slabs between which an interrupt is heard, what comes out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from skgd.engines.compiled.aligned import empty, filled
from skgd.engines.compiled.columns import read_only_rows, touched_columns
from skgd.engines.compiled.interface import Limits, Penalty, Scales
from skgd.engines.compiled.kinds import Kind, loop_for
from skgd.engines.compiled.loss import target_of
from skgd.engines.compiled.sparse import most_entries, note_all_centered
from skgd.engines.compiled.specialize import announced
from skgd.engines.compiled.workspace import Shape, drifts, work_for

# Memory maps cannot be written to: Numba would compile again for each kind.
from skgd.engines.vectorized import EpochSummary, Holder, StepSettings, penalties_of, read_only, summarized
from skgd.measuring import Matrix
from skgd.objective import Objective
from skgd.optimizers import Optimizer, idle_slots, is_adaptive, is_linear, laziness_of

_SLAB_ENTRIES = 2**25  # after so many entries an interrupt is heard
_SLAB_PRODUCTS = 2**29  # or, of networks, after so many products of the forward pass
_PRODUCTS_A_NEURON = 16  # take as long as its activation


def run_epoch(
    objective: Objective,
    optimizer: Optimizer,
    settings: StepSettings,
    holder: Holder,
    X: Matrix,
    y: np.ndarray,
    weight: np.ndarray | None,
    order: np.ndarray,
    size: int,
    rates: np.ndarray,
    longest_step: np.ndarray | None = None,
) -> EpochSummary:
    """Do what `skgd.engines.vectorized.run_epoch` does, faster.

    Raises
    ------
    FloatingPointError
        As the vectorized engine.
    CannotCompile
        Where the optimizer's rule or the loss is beyond Numba; nothing has happened then.
    """
    theta, _, average, t, averaged, _ = holder.iterate
    size, n_steps = min(size, len(order)), len(rates)
    kind, longest = kind_of(objective, optimizer, X, y, size, rates, longest_step, theta.dtype)
    loop = loop_for(kind)
    n_parameters = objective.n_parameters
    width = objective.layer_sizes[1] if kind.sparse or kind.row_by_row else n_parameters
    as_chunks = (-(-n_parameters // width), width)  # the last of them may not be full
    theta, given, starts = filled_up(theta, as_chunks), holder.iterate.slots, optimizer.initial()
    busy = [place for place in range(len(given)) if place not in kind.idle]
    slots = empty((len(busy), len(theta)), theta.dtype)
    for slot, place in zip(slots, busy, strict=True):
        slot[:n_parameters], slot[n_parameters:] = given[place], starts[place]
    shown = np.empty(0, theta.dtype) if average is None else filled_up(average, as_chunks)
    shares = settings.averaging_shares(t, n_steps, averaged) if average is not None else np.zeros(n_steps)
    averaged_after = averaged + np.cumsum(shares > 0.0)
    hypers: tuple = (optimizer.hyper(), objective.hyper, tuple(map(float, objective.loss.label_values)))
    if kind.activation is not None:
        hypers = (*hypers, objective.activation.hyper())
    y, weights = (
        (objective.target(y) if y.dtype.kind == "f" else y).take(order, axis=0),
        np.ones(len(order)) if weight is None else weight.take(order),
    )
    scales = scales_of(objective, theta.dtype)
    n_centered = int(np.count_nonzero(scales.center))
    around = (
        tuple(scales),
        tuple(penalty_as_chunks(objective, as_chunks, kind.sparse and kind.activation is not None)),
        tuple(limits_of(objective, optimizer, settings, longest, width)),
    )
    record = np.zeros((n_steps, 1 + len(objective.layer_sizes)))  # see `summarized`
    slab = steps_in_a_slab(objective, X, size)
    last = n_steps - 1
    begins = [*range(0, last, slab), last]
    shape = Shape(
        n_rows=size,
        n_steps=min(slab, n_steps),
        n_entries=most_entries(X, order, size) + size * n_centered if kind.sparse and not kind.row_by_row else 0,
        n_outputs=objective.n_outputs,
        n_chunks=as_chunks[0],
        width=width,
        layer_sizes=objective.layer_sizes,
        dtype=theta.dtype,
    )
    work, penalties_before = work_for(shape, kind), (0.0, 0.0)
    if kind.centered:
        note_all_centered((work.of_rows if kind.activation is None else work.of_rows[0])[-1], scales.center)
    data, none = data_of(objective, X), np.empty(0)
    for begin, end in zip(begins, [*begins[1:], n_steps], strict=True):
        if begin == last:
            penalties_before = penalties_of(objective, theta[:n_parameters])
        if begin:  # an interrupt is heard when the loop has ended: the holder's iterate is to be whole then
            theta, slots, shown = (filled(part.shape, part, part.dtype) for part in (theta, slots, shown))
        part, section = slice(begin, end), slice(begin * size, end * size)
        if kind.lazy:
            work.missed[0][:] = 0
            if kind.laziness == "drift":
                missed = *work.missed[:-1], drifts(optimizer, t + begin, end - begin, width)
                work = work._replace(missed=missed)
            work = work._replace(
                active=active_chunks(X, order[section], shares[part], theta, shown, as_chunks, scales.center)
            )
        parameters = theta.reshape(as_chunks), slots.reshape(-1, *as_chunks), shown.reshape(-1, width), none
        of_steps = y[section], weights[section], order[section], size, rates[part], t + begin, parameters, shares[part]
        with announced(settings.verbose):
            taken = loop(data, *of_steps, hypers, *around, tuple(work), record[part])
        if taken < end - begin:
            failed = begin + taken
            raise FloatingPointError(f"at step {t + failed + 1} (learning rate {rates[failed]:.3g})")
        kept = {place: slot[:n_parameters] for place, slot in zip(busy, slots, strict=True)}
        holder.iterate = holder.iterate._replace(
            theta=theta[:n_parameters],
            slots=tuple(kept.get(place, slot) for place, slot in enumerate(given)),
            average=None if average is None else shown[:n_parameters],
            t=t + end,
            averaged=int(averaged_after[end - 1]),
        )
    if not np.isfinite(holder.iterate.theta).all():
        raise FloatingPointError(f"at step {t + n_steps} (learning rate {rates[-1]:.3g})")
    return summarized(record, penalties_before, len(order))


def kind_of(
    objective: Objective,
    optimizer: Optimizer,
    X: Matrix,
    y: np.ndarray,
    size: int,
    rates: np.ndarray,
    longest_step: np.ndarray | None,
    dtype: np.dtype,
) -> tuple[Kind, np.ndarray]:
    """Return the kind of loop for an epoch, and the largest sensible steps, if any is longer."""
    sparse, network = not isinstance(X, np.ndarray), bool(objective.hidden_layer_sizes)
    laziness = laziness_of(optimizer) if sparse else ""
    if laziness == "repeat" and (rates.min() != rates.max() or rates[0] == 0.0):
        laziness = ""
    if laziness == "drift" and (not network or objective.alpha * objective.l1_ratio):
        laziness = ""
    row_by_row = size == 1 and (not sparse or laziness != "") and not network
    linear = is_linear(optimizer)
    longest = longest_step if longest_step is not None and optimizer.bounded else np.empty(0, dtype)
    along_row = row_by_row and linear and optimizer.proximal and not optimizer.weight_decay
    if along_row and len(longest) > 0:
        _, length, _ = optimizer.rule(0.0, 0.0, rates.max(), 1, optimizer.initial(), optimizer.hyper())
        along_row = bool(length <= longest.min())
        longest = longest[:0] if along_row else longest
    kind = Kind(
        optimizer=type(optimizer),
        loss=type(objective.loss),
        target=target_of(objective, y),
        activation=type(objective.activation) if network else None,
        adaptive=network and is_adaptive(optimizer),
        sparse=sparse,
        centered=sparse and objective.coordinates.centered,
        single=objective.n_outputs == 1,
        has_intercept=objective.fit_intercept,
        laziness=laziness,
        idle=idle_slots(optimizer),
        linear=linear,
        decays=bool(optimizer.weight_decay),
        bounded=len(longest) > 0,
        implicit=longest_step is not None and bool(optimizer.implicit),
        smooth=bool(objective.loss.smooth),
        row_by_row=row_by_row,
        along_row=along_row,
    )
    return kind, longest


def scales_of(objective: Objective, dtype: np.dtype) -> Scales:
    """Return the coordinates as arrays."""
    coordinates, n_features, n_outputs = objective.coordinates, objective.n_features, objective.n_outputs
    in_progress = objective.unit * objective.progress_worth
    of_outputs = *objective.predictor_coordinates, objective.divisor, objective.unit, in_progress
    return Scales(
        filled(n_features, coordinates.center, dtype),
        filled(n_features, 1.0 / np.asarray(coordinates.scale), dtype),
        *(np.full(n_outputs, values, np.float64) for values in of_outputs),
    )


def penalty_as_chunks(objective: Objective, as_chunks: tuple[int, int], by_feature: bool) -> Penalty:
    """Return the penalty of each parameter; `by_feature` as in `Penalty`."""
    if not objective.alpha > 0.0:
        return Penalty(np.empty((0, as_chunks[1])), np.empty((0, as_chunks[1])), False)
    n_chunks, width = as_chunks
    if by_feature:
        n_chunks, width = objective.n_features + (n_chunks - objective.n_features) * width, 1
    both = objective.penalty_by_parameter(by_feature=by_feature)
    l1, l2 = (filled_up(part, (n_chunks, width)).reshape(n_chunks, width) for part in both)
    return Penalty(l1, l2, True)


def filled_up(parameters: np.ndarray, as_chunks: tuple[int, int]) -> np.ndarray:
    """Return a copy whose last chunk is full, with zeros."""
    result = empty(math.prod(as_chunks), parameters.dtype)
    result[: len(parameters)], result[len(parameters) :] = parameters, 0.0
    return result


def limits_of(
    objective: Objective, optimizer: Optimizer, settings: StepSettings, longest: np.ndarray, width: int
) -> Limits:
    """Return what stands around the rule."""
    return Limits(
        longest.reshape(-1, width),
        np.inf if settings.max_grad_norm is None else float(settings.max_grad_norm),
        float(optimizer.weight_decay),
        float(np.finfo(longest.dtype).eps ** (2 / 3)),
        objective.n_coefficients,
    )


def data_of(objective: Objective, X: Matrix) -> tuple:
    """Return the rows as loops read them."""
    rows: tuple = (read_only(X),) if isinstance(X, np.ndarray) else read_only_rows(X)
    return (rows, np.array(objective.layer_sizes)) if objective.hidden_layer_sizes else rows


def steps_in_a_slab(objective: Objective, X: Matrix, size: int) -> int:
    """Return how many steps to take before an interrupt is heard."""
    entries = X.shape[1] if isinstance(X, np.ndarray) else X.nnz / len(X.indptr)
    if objective.hidden_layer_sizes:
        of_inputs = (entries - X.shape[1]) * objective.layer_sizes[1]
        products = objective.n_coefficients + of_inputs + _PRODUCTS_A_NEURON * sum(objective.hidden_layer_sizes)
        return max(1, int(_SLAB_PRODUCTS / (size * products)))
    return max(1, int(_SLAB_ENTRIES / max(entries * size * objective.n_outputs, 1)))


def active_chunks(
    X: Any,
    order: np.ndarray,
    shares: np.ndarray,
    theta: np.ndarray,
    average: np.ndarray,
    as_chunks: tuple[int, int],
    center: np.ndarray,
) -> np.ndarray:
    """Return the chunks that rows touch, or that are not zero, in the average too; the others stay zero."""
    n_chunks, n_averages = as_chunks[0], np.count_nonzero(shares)
    if not n_averages:
        return np.empty(0, np.uintp)
    n_entries = int(np.diff(X.indptr)[order].sum())
    if n_entries >= n_averages * n_chunks:  # to go through the entries would take longer than to average everything
        return np.arange(n_chunks, dtype=np.uintp)
    active = touched_columns(X, order, n_chunks)
    active[X.shape[1] :] = True
    active[: X.shape[1]] |= center != 0.0
    for parameters in (theta, average):
        active |= parameters.reshape(as_chunks).any(axis=1)
    return np.flatnonzero(active).astype(np.uintp)
