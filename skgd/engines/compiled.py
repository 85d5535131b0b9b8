"""The compiled engine: the steps of `skgd.engines.vectorized`, fused by Numba into loops over rows and parameters.

The loops below are plain Python. The optimizer's rule, the loss and all else that depends on the strategies stand in
them under placeholder names, for which `_specialised` puts the very functions that the vectorised engine calls with
arrays. Numba keeps the compiled code on disk, under a fingerprint of all the functions in it.

Sparse rows visit only the columns that are not zero in them. What the others miss is made up for when they are next
touched, if the optimizer says how (`Optimizer.lazy`); otherwise each step visits every parameter.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.extending import intrinsic

from skgd.coordinates import Matrix
from skgd.engines.vectorized import EpochSummary, Holder, StepSettings, implicit_share
from skgd.objective import Objective, proximal_point
from skgd.optimizers import Optimizer

_BLOCK_ENTRIES = 2**12  # dense rows are standardised in blocks that stay in the processor's cache
_PRODUCT_ENTRIES = 2**18  # matrix products want more
_SLAB_ENTRIES = 2**25  # after so many entries an interrupt is heard
_HINT = 2
_AHEAD = 8  # so many rows ahead of its use, a row is fetched
_POWERS = 8  # terms of the series of a logarithm, exact to rounding for numbers up to:
_SMALL = 0.03

# ---------------------------------------------------------------------------------------------------------------------
# Placeholders, replaced when the loops are compiled
# ---------------------------------------------------------------------------------------------------------------------

rule: Any = None  # the optimizer's static methods
readout: Any = None
skip: Any = None
value: Any = None  # the loss's
gradient: Any = None
slots_of: Any = None  # reads the slots of one parameter as a tuple
keep_slots: Any = None  # writes them
target: Any = None  # one of the _target functions
predict: Any = None  # one of the _predict functions
accumulate: Any = None  # one of the _accumulate functions
catch_up: Any = None  # one of the _catch_up functions
proximal: Any = None  # bool, from the optimizer
lazy: Any = None
normalized: Any = None  # bool, from the loss

# ---------------------------------------------------------------------------------------------------------------------
# Targets
# ---------------------------------------------------------------------------------------------------------------------


def _target_number(y, row, output, labels):
    return y[row, output]


def _target_label(y, row, output, labels):
    return labels[1] if y[row, output] else labels[0]


def _target_binary(y, row, output, labels):
    return labels[1] if y[row] else labels[0]


def _target_class(y, row, output, labels):
    return labels[1] if y[row] == output else labels[0]


@intrinsic
def prefetch(typing_context, array, row, column):
    """Ask for the cache line of an entry, without waiting for it."""

    def generate(context, builder, signature, arguments):
        array_type, row_type, column_type = signature.args
        view = context.make_array(array_type)(context, builder, arguments[0])
        indices = [
            context.cast(builder, argument, kind, types.intp)
            for argument, kind in zip(arguments[1:], (row_type, column_type), strict=True)
        ]
        shape, strides = (cgutils.unpack_tuple(builder, part, 2) for part in (view.shape, view.strides))
        pointer = cgutils.get_item_pointer2(
            context, builder, view.data, shape, strides, array_type.layout, indices, wraparound=False
        )
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [builder.bitcast(pointer, byte), flag(0), flag(_HINT), flag(1)])
        return context.get_dummy_value()

    return types.void(array, row, column), generate


# ---------------------------------------------------------------------------------------------------------------------
# Dense rows
# ---------------------------------------------------------------------------------------------------------------------


def _gather(X, order, start, stop, center, scale, Z):
    """Write the standardised rows of X to Z, asking for the next ones meanwhile: shuffled, they lie anywhere."""
    n_features = X.shape[1]
    line = 64 // X.itemsize
    for i in range(start, stop):
        if i + _AHEAD < len(order):
            for j in range(0, n_features, line):
                prefetch(X, order[i + _AHEAD], j)
        row = order[i]
        for j in range(n_features):
            Z[i - start, j] = (X[row, j] - center[j]) * scale[j]


def _predict_one(Z, theta, out):
    """Multiply rows with coefficients: by hand, because BLAS wants threads for it, which take turns and change bits."""
    n_features = Z.shape[1]
    for i in range(len(out)):
        total = theta.dtype.type(0.0)
        for j in range(n_features):
            total += Z[i, j] * theta[j]
        out[i, 0] = total


def _predict_many(Z, theta, out):
    n_coefficients = Z.shape[1] * out.shape[1]
    np.dot(Z[: len(out)], theta[:n_coefficients].reshape(Z.shape[1], out.shape[1]), out)


def _accumulate_one(Z, slopes, grad, scratch):
    """Add the rows, each times its slope, to the gradient."""
    n_features = Z.shape[1]
    for i in range(len(slopes)):
        slope = slopes[i, 0]
        if slope != 0.0:
            for j in range(n_features):
                grad[j] += slope * Z[i, j]


def _accumulate_many(Z, slopes, grad, scratch):
    np.dot(Z[: len(slopes)].T, slopes, scratch)
    grad[: scratch.size] += scratch.ravel()


def dense_steps(data, y, weight, order, size, rates, t, parameters, shares, hypers, scales, penalty, bounds, sums):
    """Take steps over batches of dense rows; return how many were taken before numbers stopped being finite."""
    (X,) = data
    theta, slots, average = parameters
    center, scale, target_center, target_scale, unit, fit_intercept = scales
    n_features, n_outputs, size = X.shape[1], len(unit), min(size, len(order))
    n_coefficients = n_features * n_outputs
    block = max(1, min(size, (_BLOCK_ENTRIES if n_outputs == 1 else _PRODUCT_ENTRIES) // n_features))
    Z = np.empty((block, n_features), theta.dtype)
    raw, moved = np.empty((size, n_outputs), theta.dtype), np.empty((size, n_outputs), theta.dtype)
    slopes = np.empty((size, n_outputs), theta.dtype)
    scratch = np.empty((n_features, n_outputs), theta.dtype)
    grad, point, step_sizes = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    moves = (point, step_sizes)
    losses, slope_sizes = np.empty(n_outputs), np.empty(n_outputs)
    for step in range(len(rates)):
        begin = step * size
        n_rows = min(size, len(order) - begin)
        grad[:] = 0.0
        losses[:] = 0.0
        slope_sizes[:] = 0.0
        for start in range(0, n_rows, block):
            stop = min(start + block, n_rows)
            _gather(X, order, begin + start, begin + stop, center, scale, Z)
            predict(Z, theta, raw[start:stop])
            _add_intercept(theta, n_coefficients, raw[start:stop])
            _slopes_of_loss(
                raw[start:stop], y, weight, begin + start, hypers, scales, slopes[start:stop], losses, slope_sizes
            )
            accumulate(Z, slopes[start:stop], grad, scratch)
        _intercept_gradient(slopes[:n_rows], slope_sizes, grad, n_coefficients)
        square = _scaled_square(grad, 0, len(grad), n_rows)
        if not (np.isfinite(losses.sum()) and np.isfinite(square)):
            return step
        _record(sums, losses, unit, square, n_rows)
        clip = _clip(square, bounds)
        _apply_rule(
            0, len(theta), rates[step], float(t + step + 1), clip, parameters, grad, moves, hypers, penalty, bounds
        )
        share = 1.0
        if bounds[2]:
            for i in range(len(theta)):
                grad[i] = point[i] - theta[i]  # the move
            for start in range(0, n_rows, block):
                stop = min(start + block, n_rows)
                if n_rows > block:
                    _gather(X, order, begin + start, begin + stop, center, scale, Z)
                predict(Z, grad, moved[start:stop])
            _add_intercept(grad, n_coefficients, moved[:n_rows])
            state = (raw[:n_rows], moved[:n_rows], y, weight, begin, hypers, scales)
            share = implicit_share(state)
        _finish(0, len(theta), share, theta, moves, penalty)
        if shares[step] > 0.0:
            _add_to_average(shares[step], parameters, hypers)
    return len(rates)


# ---------------------------------------------------------------------------------------------------------------------
# Sparse rows
# ---------------------------------------------------------------------------------------------------------------------


def sparse_steps(data, y, weight, order, size, rates, t, parameters, shares, hypers, scales, penalty, bounds, sums):
    """Take steps over batches of sparse rows; return how many were taken before numbers stopped being finite."""
    values, indices, indptr = data
    theta, slots, average = parameters
    center, scale, target_center, target_scale, unit, fit_intercept = scales
    n_outputs, n_features, size = len(unit), len(scale), min(size, len(order))
    n_coefficients = n_features * n_outputs
    raw, moved = np.empty((size, n_outputs), theta.dtype), np.empty((size, n_outputs), theta.dtype)
    slopes = np.empty((size, n_outputs), theta.dtype)
    grad, point, step_sizes = np.zeros_like(theta), np.empty_like(theta), np.empty_like(theta)
    moves = (point, step_sizes)
    losses, slope_sizes = np.empty(n_outputs), np.empty(n_outputs)
    touched, stamps = np.empty(n_features, np.int64), np.zeros(n_features, np.int64)
    done = np.zeros(n_features, np.int64)  # up to which step each column is done
    powers = np.zeros((len(rates) + 1 if lazy and penalty[2] else 1, _POWERS))  # running sums of the rates' powers
    for step in range(len(rates)):
        rows = order[step * size : (step + 1) * size]
        n_rows, n_touched, lr, now = len(rows), 0, rates[step], float(t + step + 1)
        losses[:] = 0.0
        slope_sizes[:] = 0.0
        for i in range(n_rows):
            for k in range(n_outputs):
                raw[i, k] = theta[n_coefficients + k] if fit_intercept else 0.0
            for q in range(indptr[rows[i]], indptr[rows[i] + 1]):
                j = indices[q]
                if stamps[j] != step + 1:
                    stamps[j] = step + 1
                    touched[n_touched] = j
                    n_touched += 1
                    if lazy and done[j] < step:
                        catch_up(j, n_outputs, done[j], step, rates, t, parameters, hypers, penalty, powers)
                    if lazy:
                        done[j] = step + 1
                z = values[q] * scale[j]
                for k in range(n_outputs):
                    raw[i, k] += z * theta[j * n_outputs + k]
        _slopes_of_loss(raw[:n_rows], y, weight, step * size, hypers, scales, slopes[:n_rows], losses, slope_sizes)
        for i in range(n_rows):
            for q in range(indptr[rows[i]], indptr[rows[i] + 1]):
                j = indices[q]
                z = values[q] * scale[j]
                for k in range(n_outputs):
                    grad[j * n_outputs + k] += z * slopes[i, k]
        _intercept_gradient(slopes[:n_rows], slope_sizes, grad, n_coefficients)
        square = _scaled_square(grad, n_coefficients, len(grad), n_rows)
        for u in range(n_touched):
            square += _scaled_square(grad, touched[u] * n_outputs, (touched[u] + 1) * n_outputs, n_rows)
        if not (np.isfinite(losses.sum()) and np.isfinite(square)):
            return step
        _record(sums, losses, unit, square, n_rows)
        clip = _clip(square, bounds)
        if lazy:
            for u in range(n_touched):
                first = touched[u] * n_outputs
                _apply_rule(first, first + n_outputs, lr, now, clip, parameters, grad, moves, hypers, penalty, bounds)
        begin = n_coefficients if lazy else 0
        _apply_rule(begin, len(theta), lr, now, clip, parameters, grad, moves, hypers, penalty, bounds)
        share = 1.0
        if bounds[2]:
            for i in range(n_rows):
                for k in range(n_outputs):
                    c = n_coefficients + k
                    moved[i, k] = point[c] - theta[c] if fit_intercept else 0.0
                for q in range(indptr[rows[i]], indptr[rows[i] + 1]):
                    j = indices[q]
                    z = values[q] * scale[j]
                    for c in range(j * n_outputs, (j + 1) * n_outputs):
                        moved[i, c - j * n_outputs] += z * (point[c] - theta[c])
            share = implicit_share((raw[:n_rows], moved[:n_rows], y, weight, step * size, hypers, scales))
        for u in range(n_touched):
            first = touched[u] * n_outputs
            if lazy:
                _finish(first, first + n_outputs, share, theta, moves, penalty)
            grad[first : first + n_outputs] = 0.0
        _finish(begin, len(theta), share, theta, moves, penalty)
        if lazy and penalty[2]:
            power = 1.0
            for k in range(_POWERS):
                power *= lr * share
                powers[step + 1, k] = powers[step, k] + power
        if shares[step] > 0.0 or step + 1 == len(rates):
            if lazy:
                for j in range(n_features):
                    if done[j] <= step:
                        catch_up(j, n_outputs, done[j], step + 1, rates, t, parameters, hypers, penalty, powers)
                        done[j] = step + 1
            if shares[step] > 0.0:
                _add_to_average(shares[step], parameters, hypers)
    return len(rates)


def _catch_up_rest(j, n_outputs, start, stop, rates, t, parameters, hypers, penalty, powers):
    """Make up for steps in which the rule left a column alone: the proximal steps of its penalty."""
    theta, slots, average = parameters
    l1, l2, penalised = penalty
    if not penalised:
        return
    for i in range(j * n_outputs, (j + 1) * n_outputs):
        w = 1.0 * theta[i]
        if w != 0.0:
            rate = rule(w, 0.0, 1.0, float(t + start + 1), slots_of(slots, i), hypers[0])[
                1
            ]  # for each unit of lr * share
            theta[i] = _shrunk(w, rate * l1[i], rate * l2[i], powers, start, stop)


def _shrunk(w, l1, l2, powers, start, stop):
    """Return w after the proximal steps with the rates that `powers` adds up.

    Each divides ``|w| + l1 / l2`` by ``1 + rate * l2``, until w is zero.
    """
    length = powers[stop, 0] - powers[start, 0]
    if l2 == 0.0:
        return np.sign(w) * max(abs(w) - length * l1, 0.0)
    logarithm = 0.0
    if (powers[stop, 1] - powers[start, 1]) * l2 * l2 < _SMALL * _SMALL:
        factor = 1.0
        for k in range(_POWERS):
            factor *= l2
            term = factor * (powers[stop, k] - powers[start, k]) / (k + 1)
            logarithm += term if k % 2 == 0 else -term
            if term < 1e-17:
                break
    else:
        for step in range(start, stop):
            logarithm += np.log1p(l2 * (powers[step + 1, 0] - powers[step, 0]))
    size = abs(w) * np.exp(-logarithm) + (l1 / l2 * np.expm1(-logarithm) if l1 > 0.0 else 0.0)
    return np.sign(w) * max(size, 0.0)


def _catch_up_repeat(j, n_outputs, start, stop, rates, t, parameters, hypers, penalty, powers):
    """Make up for steps of which only the last one counts, once the slots know how many there were."""
    theta, slots, average = parameters
    l1, l2, penalised = penalty
    for i in range(j * n_outputs, (j + 1) * n_outputs):
        before = skip(stop - start - 1, slots_of(slots, i), hypers[0])
        w, rate, after = rule(1.0 * theta[i], 0.0, rates[stop - 1], float(t + stop), before, hypers[0])
        keep_slots(slots, i, after)
        theta[i] = proximal_point(w, rate, l1[i], l2[i]) if penalised else w


# ---------------------------------------------------------------------------------------------------------------------
# What dense and sparse steps share
# ---------------------------------------------------------------------------------------------------------------------


def _add_intercept(theta, n_coefficients, raw):
    if len(theta) > n_coefficients:
        for i in range(raw.shape[0]):
            for k in range(raw.shape[1]):
                raw[i, k] += theta[n_coefficients + k]


def _log_sum_exp(raw, moved, share, i):
    largest = -np.inf
    for k in range(raw.shape[1]):
        largest = max(largest, raw[i, k] + share * moved[i, k])
    total = 0.0
    for k in range(raw.shape[1]):
        total += np.exp(raw[i, k] + share * moved[i, k] - largest)
    return largest + np.log(total)


def _slopes_of_loss(raw, y, weight, first, hypers, scales, slopes, losses, slope_sizes):
    """Write the loss's derivative for each row and output, and add up losses and sizes of derivatives."""
    _, hyper, labels = hypers
    _, _, target_center, target_scale, unit, _ = scales
    for i in range(len(raw)):
        s = weight[first + i] if len(weight) > 0 else 1.0
        shift = _log_sum_exp(raw, raw, 0.0, i) if normalized else 0.0
        for k in range(raw.shape[1]):
            goal = target(y, first + i, k, labels)
            predictor = target_center[k] + target_scale[k] * (raw[i, k] - shift)
            losses[k] += s * value(goal, predictor, hyper) / unit[k]
            slope = s * gradient(goal, predictor, hyper) * (target_scale[k] / unit[k])
            slopes[i, k] = slope
            slope_sizes[k] += abs(slope)


def _slope_along(share, state):
    """Return the derivative of the batch's loss along its move, after a share of it."""
    raw, moved, y, weight, first, hypers, scales = state
    _, hyper, labels = hypers
    _, _, target_center, target_scale, unit, _ = scales
    total = 0.0
    for i in range(len(raw)):
        s = weight[first + i] if len(weight) > 0 else 1.0
        shift = _log_sum_exp(raw, moved, share, i) if normalized else 0.0
        for k in range(raw.shape[1]):
            predictor = target_center[k] + target_scale[k] * (raw[i, k] + share * moved[i, k] - shift)
            slope = gradient(target(y, first + i, k, labels), predictor, hyper) * (target_scale[k] / unit[k])
            total += s * slope * moved[i, k]
    return total


def _intercept_gradient(slopes, slope_sizes, grad, n_coefficients):
    """Write the intercepts' gradient, or zero where it is nothing but rounding."""
    if len(grad) > n_coefficients:
        for k in range(slopes.shape[1]):
            total = 0.0
            for i in range(slopes.shape[0]):
                total += slopes[i, k]
            rounding = np.finfo(grad.dtype).eps ** (2.0 / 3.0) * slope_sizes[k]
            grad[n_coefficients + k] = total if abs(total) > rounding else 0.0


def _scaled_square(grad, start, stop, n_rows):
    """Divide a part of the gradient's sum by the number of rows; return the square of its norm."""
    square = 0.0
    for i in range(start, stop):
        grad[i] /= n_rows
        square += grad[i] * grad[i]
    return square


def _record(sums, losses, unit, square, n_rows):
    for k in range(len(losses)):
        sums[0] += losses[k] * unit[k]
    sums[1] += n_rows * square


def _clip(square, bounds):
    max_norm = bounds[1]
    norm = np.sqrt(square)
    return max_norm / norm if norm > max_norm else 1.0


def _apply_rule(start, stop, lr, now, clip, parameters, grad, moves, hypers, penalty, bounds):
    """Write where the rule would move parameters, and at which rates; update the slots."""
    theta, slots, average = parameters
    l1, l2, penalised = penalty
    hyper = hypers[0]
    point, step_sizes = moves
    longest, _, _, weight_decay, n_coefficients = bounds
    for i in range(start, stop):
        w, g, before = 1.0 * theta[i], 1.0 * clip * grad[i], slots_of(slots, i)
        if not proximal and penalised:
            g += l2[i] * w
        if weight_decay > 0.0 and i < n_coefficients:
            w *= 1.0 - lr * weight_decay
            theta[i] = w
        to, rate, after = rule(w, g, lr, now, before, hyper)
        if len(longest) > 0 and rate > longest[i] and g != 0.0:
            to, rate, after = rule(w, g, lr * (longest[i] / rate), now, before, hyper)
        point[i] = to
        step_sizes[i] = rate
        keep_slots(slots, i, after)


def _finish(start, stop, share, theta, moves, penalty):
    """Move parameters by a share of their step, and take the penalty's proximal step."""
    l1, l2, penalised = penalty
    point, step_sizes = moves
    for i in range(start, stop):
        w = point[i] if share == 1.0 else theta[i] + share * (point[i] - theta[i])
        theta[i] = proximal_point(w, share * step_sizes[i], l1[i], l2[i]) if penalised and proximal else w


def _add_to_average(share, parameters, hypers):
    theta, slots, average = parameters
    for i in range(len(theta)):
        average[i] += share * (readout(1.0 * theta[i], slots_of(slots, i), hypers[0]) - average[i])


# ---------------------------------------------------------------------------------------------------------------------
# Compiling
# ---------------------------------------------------------------------------------------------------------------------

# Numba's tuples have a length, so that this has to be written out for each number of slots.
_SLOT_ACCESS = """
def slots_of(slots, i):
    return ({reads})

def keep_slots(slots, i, after):
    {writes}
"""


def _slot_access(n_slots: int) -> dict[str, Any]:
    reads = "".join(f"1.0 * slots[{s}, i], " for s in range(n_slots))
    writes = "; ".join(f"slots[{s}, i] = after[{s}]" for s in range(n_slots)) or "pass"
    namespace: dict[str, Any] = {}
    exec(_SLOT_ACCESS.format(reads=reads, writes=writes), namespace)
    return {name: namespace[name] for name in ("slots_of", "keep_slots")}


def _names(code: CodeType) -> set[str]:
    """Return the names that a function and the functions inside it look up."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


class CannotCompile(Exception):
    """A rule or a loss is beyond Numba."""


class _Specialised:
    """Copies of functions that Numba compiles, and those they call, with other functions in place of placeholders."""

    def __init__(self, replacements: dict[str, Any]):
        self._replacements = replacements
        self._digest = hashlib.sha256()
        self._done: dict[FunctionType, Any] = {}

    def __call__(self, function: FunctionType) -> Any:
        """Return the compiled copy of a function: compiled when it is first called, or read from the disk."""
        copy = self._copied(function)
        copy.__qualname__ = f"{function.__name__}_{self._digest.hexdigest()[:20]}"
        try:
            return njit(cache=True, **_OPTIONS)(copy)
        except RuntimeError:  # no folder can be written to
            return njit(**_OPTIONS)(copy)

    def _inlined(self, function: FunctionType) -> Any:
        if function not in self._done:
            self._done[function] = njit(**_OPTIONS)(self._copied(function))
        return self._done[function]

    def _copied(self, function: FunctionType) -> FunctionType:
        code = function.__code__
        self._fingerprint(code)
        namespace = dict(function.__globals__)
        for name in sorted(_names(code) & namespace.keys()):
            thing = namespace[name]
            if function.__module__.startswith(__package__):
                thing = self._replacements.get(name, thing)
            if isinstance(thing, FunctionType):
                thing = self._inlined(thing)
            elif isinstance(thing, (int, float, str, tuple)):
                self._digest.update(f"{name}={thing!r}".encode())
            namespace[name] = thing
        self._digest.update(repr(function.__defaults__).encode())
        return FunctionType(code, namespace, function.__name__, function.__defaults__, function.__closure__)

    def _fingerprint(self, code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._fingerprint(constant)
            else:
                self._digest.update(repr(constant).encode())
        self._digest.update(code.co_code + repr((code.co_names, code.co_varnames)).encode())


_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},  # sums in any order; NaN and infinity stay what they are
    "nogil": True,
}


@lru_cache(maxsize=256)
def _loops(optimizer: type[Optimizer], is_lazy: str, loss: type, kind: str, single: bool, sparse: bool) -> Any:
    """Return the compiled loop for an optimizer, a loss and a kind of data."""
    replacements: dict[str, Any] = {
        "rule": optimizer.rule,
        "readout": optimizer.readout,
        "skip": optimizer.skip,
        "value": loss.value,
        "gradient": loss.gradient,
        "target": {"f": _target_number, "b": _target_label, "binary": _target_binary, "class": _target_class}[kind],
        "predict": _predict_one if single else _predict_many,
        "accumulate": _accumulate_one if single else _accumulate_many,
        "catch_up": _catch_up_repeat if is_lazy == "repeat" else _catch_up_rest,
        "slope_along": _slope_along,
        "proximal": optimizer.proximal,
        "lazy": is_lazy != "",
        "normalized": loss.normalized,
        **_slot_access(len(optimizer.slots)),
    }
    for name in ("rule", "readout", "skip", "value", "gradient"):
        if not isinstance(replacements[name], FunctionType):
            raise CannotCompile(f"{name} is not a static method written in Python.")
    return _Specialised(replacements)(sparse_steps if sparse else dense_steps)


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
        As the vectorised engine.
    CannotCompile
        Where the optimizer's rule or the loss is beyond Numba; nothing has happened then.
    """
    theta, slots, average, t, averaged = holder.iterate
    dtype, n_features, n_outputs = theta.dtype, objective.n_features, objective.n_outputs
    sparse = not isinstance(X, np.ndarray)
    kind = y.dtype.kind if y.ndim > 1 else "class" if objective.exclusive_classes else "binary"
    is_lazy = optimizer.lazy
    if is_lazy == "repeat" and (rates.min() != rates.max() or rates[0] == 0.0):
        is_lazy = ""
    loop = _loops(type(optimizer), is_lazy, type(objective.loss), kind, n_outputs == 1, sparse)

    coordinates = objective.coordinates
    theta = theta.copy()
    slots = np.array(slots, dtype=dtype).reshape(-1, len(theta))
    shown = np.empty(0, dtype) if average is None else average.copy()
    shares = settings.averaging_shares(t, len(rates), averaged) if average is not None else np.zeros(len(rates))
    averaged_after = averaged + np.cumsum(shares > 0.0)
    scales = (
        np.broadcast_to(coordinates.center, (n_features,)).astype(dtype),
        (1.0 / np.broadcast_to(coordinates.scale, (n_features,))).astype(dtype),
        *(
            np.broadcast_to(np.asarray(values, np.float64), (n_outputs,)).copy()
            for values in (coordinates.target_center, coordinates.target_scale, objective.unit)
        ),
        objective.fit_intercept,
    )
    penalised = objective.alpha > 0.0
    l1, l2 = objective.penalty_by_parameter() if penalised else (np.empty(0), np.empty(0))
    penalty = (l1, l2, penalised)
    auto = longest_step is not None
    bounds = (
        longest_step if auto and optimizer.bounded else np.empty(0, dtype),
        np.inf if settings.max_grad_norm is None else float(settings.max_grad_norm),
        auto and bool(optimizer.implicit),
        float(optimizer.weight_decay),
        objective.n_coefficients,
    )
    hypers = (optimizer.hyper(), objective.hyper, tuple(map(float, objective.loss.label_values)))
    y, weights = y[order], np.empty(0) if weight is None else weight[order]
    data = (X.data, X.indices, X.indptr) if sparse else (X,)
    sums, n_rows = np.zeros(2), len(order)

    entries = (X.nnz / X.shape[0] if sparse else n_features) * size * n_outputs
    slab = max(1, int(_SLAB_ENTRIES / max(entries, 1)))
    last = len(rates) - 1
    begins = [*range(0, last, slab), last]
    penalty_before = 0.0
    for begin, end in zip(begins, [*begins[1:], len(rates)], strict=True):
        if begin == last:
            penalty_before = objective.penalty(theta)
        part, rows = slice(begin, end), slice(begin * size, end * size)
        try:
            taken = loop(
                data,
                y[rows],
                weights[rows],
                order[rows],
                size,
                rates[part],
                t + begin,
                (theta, slots, shown),
                shares[part],
                hypers,
                scales,
                penalty,
                bounds,
                sums,
            )
        except NumbaError as error:
            raise CannotCompile(str(error)) from error
        if taken < end - begin:
            failed = begin + taken
            raise FloatingPointError(f"at step {t + failed + 1} (learning rate {rates[failed]:.3g})")
        holder.iterate = holder.iterate._replace(
            theta=theta,
            slots=tuple(slots),
            average=None if average is None else shown,
            t=t + end,
            averaged=int(averaged_after[end - 1]),
        )
    if not np.isfinite(theta).all():
        raise FloatingPointError(f"at step {t + len(rates)} (learning rate {rates[-1]:.3g})")
    return EpochSummary(float(sums[0] / n_rows), penalty_before, float(np.sqrt(sums[1] / n_rows)), n_rows)
