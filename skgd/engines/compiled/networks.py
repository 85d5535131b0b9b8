"""Networks: the forward and the backward pass in the place of a linear gradient.

The parameters of the first layer lie in chunks of a feature's, where rows are sparse, and those above in the chunks
after these, which every step touches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.engines.compiled.aligned import empty
from skgd.engines.compiled.dense import PRODUCT_ENTRIES, dense_rows, gather
from skgd.engines.compiled.interface import (
    Rows,
    dense,
    has_intercept,
    lazy,
    part_of,
    prefetch,
    product,
    rows,
    strategies,
)
from skgd.engines.compiled.loss import slopes_of_loss
from skgd.engines.compiled.sparse import touch
from skgd.engines.compiled.steps import NEAR, write_gradient_of_feature


def workspace(
    size: int, sizes: np.ndarray, of_inputs: tuple | None, chunks: np.ndarray, dtype: np.dtype
) -> tuple[Any, ...]:
    """Return what inputs want, scratch for a gradient, what neurons receive and hand on, and two layers' slopes.

    Dense inputs want a block of rows. Sparse ones also want their entries by column (rows, values, the columns' chunks
    and where they begin), and what the first layer receives of all rows, in whose place come its slopes.
    """
    block = max(1, min(size, PRODUCT_ENTRIES // max(sizes if of_inputs is None else sizes[1:])))
    first = 0 if of_inputs is None else 1
    received = empty((block, int(sizes[1:-1].sum())), dtype)
    scratch = empty(int((sizes[first:-1] * sizes[first + 1 :]).max()), dtype)
    deltas = empty((2, block * int(max(sizes[1:]))), dtype)
    by_column: tuple[np.ndarray, ...] = ()
    if of_inputs is None:
        of_inputs = (empty((block, int(sizes[0])), dtype),)
    else:
        entries, begins = len(of_inputs[0]), np.empty(len(chunks) + 2, np.int64)
        of_first = empty((size, int(sizes[1])), dtype)
        by_column = np.empty(entries, np.int32), np.empty(entries, dtype), chunks, begins, of_first
    return of_inputs, by_column, scratch, received, empty(received.size, dtype), deltas


def above_first(sizes, n_chunks, width):
    """Return where the coefficients above the first layer begin, and the intercepts, among all parameters at hand."""
    n_coefficients, n_intercepts = 0, sizes[1] if has_intercept else 0
    for layer in range(1, len(sizes) - 1):
        n_coefficients += sizes[layer] * sizes[layer + 1]
        n_intercepts += sizes[layer + 1] if has_intercept else 0
    place = sizes[0] * sizes[1] if dense else (n_chunks - chunks_of(n_coefficients + n_intercepts, width)) * width
    return place, place + n_coefficients, place + n_coefficients + n_intercepts


def chunks_of(n_parameters, width):
    """Return how many chunks so many parameters take."""
    return (n_parameters + width - 1) // width


def gradient(data, y, weight, order, begin, end, n_chunks, scales, local, hypers, of_rows, written):
    """Do what `skgd.networks.forward` and `skgd.networks.backward` do.

    For sparse rows, it leaves the coefficients of the first layer to `write_gradient_of_feature`.
    """
    X, sizes = data
    of_inputs, by_column, scratch, all_received, handed_on, deltas = of_rows
    raw, slopes, losses, slope_sizes, all_of_grad = written
    last, block = len(sizes) - 2, len(all_received)
    received = part_of(all_received, 0, (all_received.size,))
    theta, grad = part_of(local, 0, (local.size,)), part_of(all_of_grad, 0, (all_of_grad.size,))
    place_above, intercepts, stop = above_first(sizes, len(local), local.shape[1])
    for k in range(intercepts, stop):
        grad[k] = 0.0
    if not dense:
        multiply_sparse(n_chunks, end - begin, sizes, local, by_column)
    for start in range(begin, end, block):
        n = min(start + block, end) - start
        out = raw[start - begin : start - begin + n]
        inputs = part_of(received, 0, (0, sizes[1]))
        place, at, after = place_above, 0, intercepts
        for layer in range(last + 1):
            shape = (sizes[layer], sizes[layer + 1])
            z = out if layer == last else part_of(received, at * n, (n, shape[1]))
            if layer == 0:
                rows.multiply(X, order, start, start - begin, n, scales, local, of_rows, z)
            else:
                product(inputs, part_of(theta, place, shape), z)
                place += shape[0] * shape[1]
            if has_intercept:
                for i in range(n):
                    for k in range(shape[1]):
                        z[i, k] += theta[after + k]
            if layer < last:
                inputs = part_of(handed_on, at * n, (n, shape[1]))
                for i in range(n):
                    for k in range(shape[1]):
                        inputs[i, k] = strategies.activate(z[i, k], hypers[3])
            at, after = at + shape[1], after + shape[1]
        delta = slopes[start - begin : start - begin + n]
        slopes_of_loss(y, weight, start, start - begin, n, hypers, scales, raw, slopes, losses, slope_sizes)
        at, after = at - sizes[-1], after - sizes[-1]
        for above in range(last + 1):
            layer = last - above
            shape = (sizes[layer], sizes[layer + 1])
            if layer == 0 and dense:
                accumulate_dense(start - begin, n, delta, of_inputs, all_of_grad, scratch)
            elif layer > 0:
                place -= shape[0] * shape[1]
                at -= shape[0]
                inputs = part_of(handed_on, at * n, (n, shape[0]))
                section = part_of(grad, place, (shape[0] * shape[1],))
                add_product(inputs, delta, section, scratch, start == begin)
            if has_intercept:
                for i in range(n):
                    for k in range(shape[1]):
                        grad[after + k] += delta[i, k]
                        if layer < last:
                            slope_sizes[after - intercepts + k] += abs(delta[i, k])
            if layer > 0:
                after -= shape[0]
                coef = part_of(theta, place, shape)
                if layer == 1 and not dense:
                    before = by_column[4][start - begin : start - begin + n]
                else:
                    before = part_of(deltas, layer % 2 * deltas.shape[1], (n, shape[0]))
                product(delta, coef.T, before)
                for i in range(n):
                    for k in range(shape[0]):
                        z = received[at * n + i * shape[0] + k]
                        before[i, k] *= strategies.slope_of_activation(z, inputs[i, k], hypers[3])
                delta = before


def add_product(inputs, delta, section, scratch, first):
    """Add a layer's gradient, or write it, if it is that of the first rows."""
    shape = (inputs.shape[1], delta.shape[1])
    if first:
        product(inputs.T, delta, part_of(section, 0, shape))
    else:
        product(inputs.T, delta, part_of(scratch, 0, shape))
        for k in range(section.size):
            section[k] += scratch[k]


def multiply_dense(X, order, start, at, n_rows, scales, theta, of_rows, z):
    """Write what the first layer's neurons receive of dense rows."""
    Z = of_rows[0][0]
    gather(X[0], order, start, start + n_rows, scales, Z)
    product(Z[:n_rows], part_of(theta, 0, (Z.shape[1], z.shape[1])), z)


def accumulate_dense(at, n_rows, delta, of_inputs, grad, scratch):
    """Add the first layer's gradient."""
    Z = of_inputs[0]
    add_product(Z[:n_rows], delta, part_of(grad, 0, (Z.shape[1] * delta.shape[1],)), scratch, at == 0)


def touch_sparse(data, order, begin, end, scales, chunks, of_rows):
    """Copy the rows, by row and by column; return how many chunks the columns and the layers above are."""
    n_chunks = touch(data[0], order, begin, end, scales, chunks, of_rows[0])
    columns, entries, starts, _, _ = of_rows[0]
    rows_of, values, _, begins, _ = of_rows[1]
    for u in range(n_chunks + 2):
        begins[u] = 0
    for q in range(starts[end - begin]):
        begins[columns[q] + 2] += 1
    for u in range(n_chunks):
        begins[u + 1] += begins[u]
    for i in range(end - begin):
        for q in range(starts[i], starts[i + 1]):
            place = begins[columns[q] + 1]
            begins[columns[q] + 1] = place + 1
            rows_of[place], values[place] = i, entries[q]
    return n_chunks


def multiply_sparse(n_chunks, n_rows, sizes, theta, by_column):
    """Write what the first layer's neurons receive of sparse rows."""
    rows_of, values, chunks, begins, z = by_column
    for i in range(n_rows):
        for k in range(z.shape[1]):
            z[i, k] = 0.0
    for u in range(n_chunks):
        chunk = chunks[u]
        if lazy and u + NEAR < n_chunks:
            for k in range(0, theta.shape[1], 64 // theta.itemsize):
                prefetch(theta, (chunks[u + NEAR], k))
        for q in range(begins[u], begins[u + 1]):
            i, value = rows_of[q], values[q]
            for k in range(z.shape[1]):
                z[i, k] += value * theta[chunk, k]


def copy_product(X, order, start, at, n_rows, scales, theta, of_rows, z):
    """Copy what the first layer's neurons receive of some of the rows."""
    received = of_rows[1][4]
    for i in range(n_rows):
        for k in range(z.shape[1]):
            z[i, k] = received[at + i, k]


def complete_gradient(data, n_rows, of_step, limits, slopes, slope_sizes, all_of_grad, record, step):
    """Do what that of `skgd.engines.compiled.steps` does, with all layers' intercepts in their place already.

    For sparse rows, it leaves squares of the first layer's coefficients to `apply_rule`, unless the norm has a limit.
    """
    n_chunks, of_rows = of_step
    sizes, grad = data[1], part_of(all_of_grad, 0, (all_of_grad.size,))
    place, intercepts, stop = above_first(sizes, len(all_of_grad), all_of_grad.shape[1])
    for k in range(stop - intercepts):
        if not abs(grad[intercepts + k]) > limits.rounding * slope_sizes[k]:
            grad[intercepts + k] = 0.0
    for k in range(stop, grad.size):
        grad[k] = 0.0
    begin, end, after = 0, place, intercepts
    for layer in range(len(sizes) - 1):
        record[step, 1 + layer] = 0.0
        if dense or layer > 0:
            record[step, 1 + layer] = square_of_mean(grad, begin, end, n_rows)
        elif limits.max_grad_norm < np.inf:
            for u in range(n_chunks):
                if of_rows[1][2][u] < sizes[0]:
                    write_gradient_of_feature(u, of_rows, all_of_grad)
                    record[step, 1] += square_of_mean(grad, 0, sizes[1], n_rows)
        if has_intercept:
            record[step, 1 + layer] += square_of_mean(grad, after, after + sizes[layer + 1], n_rows)
        begin, after = end, after + sizes[layer + 1]
        if layer < len(sizes) - 2:
            end += sizes[layer + 1] * sizes[layer + 2]


def square_of_mean(grad, begin, end, n_rows):
    """Return the square of a part of the mean gradient."""
    square, part = 0.0, part_of(grad, begin, (end - begin,))
    for i in range(part.size):
        mean = grad.dtype.type(part[i] / n_rows)  # whose square is to overflow where NumPy's does
        square += mean * mean
    return square


def network_rows(of_inputs: Rows | None) -> Rows:
    """Return what rows do in a network, from what sparse rows do, if they are."""
    passes: dict[str, Any] = {"gradient": gradient, "complete_gradient": complete_gradient}
    if of_inputs is None:
        return dense_rows(False)._replace(**passes, multiply=multiply_dense)
    return of_inputs._replace(**passes, multiply=copy_product, touch=touch_sparse)
