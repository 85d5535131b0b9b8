"""Networks: the forward and the backward pass in the place of a linear gradient.

The parameters of the first layer lie in chunks of a feature's, where rows are sparse, and those above in the chunks
after these, which every step touches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skgd.engines.compiled.dense import PRODUCT_ENTRIES, dense_rows, gather
from skgd.engines.compiled.interface import Rows, dense, has_intercept, part_of, product, rows, strategies
from skgd.engines.compiled.loss import slopes_of_loss
from skgd.engines.compiled.sparse import touch


def workspace(size: int, sizes: np.ndarray, of_inputs: tuple | None, dtype: np.dtype) -> tuple:
    """Return what inputs want, scratch for a gradient, what neurons receive and hand on, and two layers' slopes.

    Dense inputs want a block of rows.
    """
    block = max(1, min(size, PRODUCT_ENTRIES // max(sizes if of_inputs is None else sizes[1:])))
    first = 0 if of_inputs is None else 1
    received = np.empty((block, sizes[1:-1].sum()), dtype)
    scratch = np.empty((sizes[first:-1] * sizes[first + 1 :]).max(), dtype)
    deltas = np.empty((2, block * max(sizes[1:])), dtype)
    if of_inputs is None:
        of_inputs = (np.empty((block, sizes[0]), dtype),)
    return of_inputs, scratch, received, np.empty(received.size, dtype), deltas


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
    """Do what `skgd.networks.forward` and `skgd.networks.backward` do."""
    X, sizes = data
    of_inputs, scratch, all_received, handed_on, deltas = of_rows
    raw, slopes, losses, slope_sizes, all_of_grad = written
    last, block = len(sizes) - 2, len(all_received)
    received = part_of(all_received, 0, (all_received.size,))
    theta, grad = part_of(local, 0, (local.size,)), part_of(all_of_grad, 0, (all_of_grad.size,))
    place_above, intercepts, stop = above_first(sizes, n_chunks, local.shape[1])
    for k in range(intercepts, stop):
        grad[k] = 0.0
    for start in range(begin, end, block):
        n = min(start + block, end) - start
        out = raw[start - begin : start - begin + n]
        inputs = part_of(received, 0, (0, sizes[1]))
        place, at, after = place_above, 0, intercepts
        for layer in range(last + 1):
            shape = (sizes[layer], sizes[layer + 1])
            z = out if layer == last else part_of(received, at * n, (n, shape[1]))
            if layer == 0:
                rows.multiply(X, order, start, start - begin, n, scales, local, of_inputs, z)
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
            if layer == 0:
                rows.accumulate(start - begin, n, delta, of_inputs, all_of_grad, scratch)
            else:
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


def multiply_dense(X, order, start, at, n_rows, scales, theta, of_inputs, z):
    """Write what the first layer's neurons receive of dense rows."""
    Z = of_inputs[0]
    gather(X[0], order, start, start + n_rows, scales, Z)
    product(Z[:n_rows], part_of(theta, 0, (Z.shape[1], z.shape[1])), z)


def accumulate_dense(at, n_rows, delta, of_inputs, grad, scratch):
    """Add the first layer's gradient."""
    Z = of_inputs[0]
    add_product(Z[:n_rows], delta, part_of(grad, 0, (Z.shape[1] * delta.shape[1],)), scratch, at == 0)


def touch_sparse(data, order, begin, end, scales, chunks, of_rows):
    """Copy the rows, with local numbers for their columns; return how many chunks these and the layers above are."""
    return touch(data[0], order, begin, end, scales, chunks, of_rows[0])


def multiply_sparse(X, order, start, at, n_rows, scales, theta, of_inputs, z):
    """Write what the first layer's neurons receive of sparse rows."""
    columns, entries, starts, _, _ = of_inputs
    for i in range(n_rows):
        for k in range(z.shape[1]):
            z[i, k] = 0.0
        for q in range(starts[at + i], starts[at + i + 1]):
            j, value = columns[q], entries[q]
            for k in range(z.shape[1]):
                z[i, k] += value * theta[j, k]


def accumulate_sparse(at, n_rows, delta, of_inputs, grad, scratch):
    """Add the first layer's gradient."""
    columns, entries, starts, _, _ = of_inputs
    for i in range(n_rows):
        for q in range(starts[at + i], starts[at + i + 1]):
            j, value = columns[q], entries[q]
            for k in range(delta.shape[1]):
                grad[j, k] += value * delta[i, k]


def complete_gradient(data, n_rows, n_chunks, limits, slopes, slope_sizes, all_of_grad, record, step):
    """Do what that of `skgd.engines.compiled.steps` does, with all layers' intercepts in their place already."""
    sizes, grad = data[1], part_of(all_of_grad, 0, (all_of_grad.size,))
    place, intercepts, stop = above_first(sizes, n_chunks, all_of_grad.shape[1])
    for k in range(stop - intercepts):
        if not abs(grad[intercepts + k]) > limits.rounding * slope_sizes[k]:
            grad[intercepts + k] = 0.0
    for k in range(stop, n_chunks * all_of_grad.shape[1]):
        grad[k] = 0.0
    begin, end, after = 0, place, intercepts
    for layer in range(len(sizes) - 1):
        record[step, 1 + layer] = square_of_mean(grad, begin, end, n_rows)
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
        return dense_rows(False)._replace(**passes, multiply=multiply_dense, accumulate=accumulate_dense)
    return of_inputs._replace(**passes, multiply=multiply_sparse, accumulate=accumulate_sparse, touch=touch_sparse)
