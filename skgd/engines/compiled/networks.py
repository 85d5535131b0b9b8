"""Networks of dense rows: the forward and the backward pass in the place of a linear gradient."""

from __future__ import annotations

import numpy as np

from skgd.engines.compiled.dense import PRODUCT_ENTRIES, dense_rows, gather, product
from skgd.engines.compiled.interface import Rows, strategies
from skgd.engines.compiled.loss import slopes_of_loss


def workspace(size: int, sizes: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return a block of rows, scratch for a gradient, what neurons receive and hand on, and two layers' slopes."""
    block = max(1, min(size, PRODUCT_ENTRIES // max(sizes)))
    received = np.empty(block * sizes[1:-1].sum(), dtype)
    scratch = np.empty((sizes[:-1] * sizes[1:]).max(), dtype)
    deltas = np.empty((2, block * max(sizes[1:])), dtype)
    return np.empty((block, sizes[0]), dtype), scratch, received, received.copy(), deltas


def gradient(data, y, weight, order, begin, end, n_chunks, scales, local, hypers, of_rows, written):
    """Do what `skgd.networks.forward` and `skgd.networks.backward` do."""
    X, sizes = data
    Z, scratch, received, handed_on, deltas = of_rows
    raw, slopes, losses, slope_sizes, all_of_grad = written
    last = len(sizes) - 2
    theta, grad = local[0], all_of_grad[0]
    n_coefficients = 0
    for layer in range(last + 1):
        n_coefficients += sizes[layer] * sizes[layer + 1]
    has_intercepts = len(theta) > n_coefficients
    for k in range(n_coefficients, len(grad)):
        grad[k] = 0.0
    for start in range(begin, end, len(Z)):
        n = min(start + len(Z), end) - start
        gather(X, order, start, start + n, scales, Z)
        out = raw[start - begin : start - begin + n]
        inputs, place, at, after = Z[:n], 0, 0, n_coefficients
        for layer in range(last + 1):
            shape = (sizes[layer], sizes[layer + 1])
            coef = theta[place : place + shape[0] * shape[1]].reshape(shape)
            z = out if layer == last else received[at * n : (at + shape[1]) * n].reshape(n, shape[1])
            product(inputs, coef, z)
            if has_intercepts:
                for i in range(n):
                    for k in range(shape[1]):
                        z[i, k] += theta[after + k]
            if layer < last:
                inputs = handed_on[at * n : (at + shape[1]) * n].reshape(n, shape[1])
                for i in range(n):
                    for k in range(shape[1]):
                        inputs[i, k] = strategies.activate(z[i, k], hypers[3])
            place, at, after = place + shape[0] * shape[1], at + shape[1], after + shape[1]
        delta = slopes[start - begin : start - begin + n]
        slopes_of_loss(y, weight, start, start - begin, n, hypers, scales, raw, slopes, losses, slope_sizes)
        at, after = at - sizes[-1], after - sizes[-1]
        for layer in range(last, -1, -1):
            shape = (sizes[layer], sizes[layer + 1])
            place -= shape[0] * shape[1]
            if layer > 0:
                at -= shape[0]
                inputs = handed_on[at * n : (at + shape[0]) * n].reshape(n, shape[0])
            else:
                inputs = Z[:n]
            section = grad[place : place + shape[0] * shape[1]]
            if start == begin:
                product(inputs.T, delta, section.reshape(shape))
            else:
                product(inputs.T, delta, scratch[: section.size].reshape(shape))
                for k in range(section.size):
                    section[k] += scratch[k]
            if has_intercepts:
                for i in range(n):
                    for k in range(shape[1]):
                        grad[after + k] += delta[i, k]
                        if layer < last:
                            slope_sizes[after - n_coefficients + k] += abs(delta[i, k])
            if layer > 0:
                after -= shape[0]
                coef = theta[place : place + shape[0] * shape[1]].reshape(shape)
                before = deltas[layer % 2, : n * shape[0]].reshape(n, shape[0])
                product(delta, coef.T, before)
                for i in range(n):
                    for k in range(shape[0]):
                        z = received[at * n + i * shape[0] + k]
                        before[i, k] *= strategies.slope_of_activation(z, inputs[i, k], hypers[3])
                delta = before


def complete_gradient(data, n_rows, n_chunks, limits, slopes, slope_sizes, all_of_grad, record, step):
    """Do what that of `skgd.engines.compiled.steps` does, with all layers' intercepts in their place already."""
    sizes, grad, n_coefficients = data[1], all_of_grad[0], limits.n_coefficients
    for k in range(len(grad) - n_coefficients):
        if not abs(grad[n_coefficients + k]) > limits.rounding * slope_sizes[k]:
            grad[n_coefficients + k] = 0.0
    begin, after = 0, n_coefficients
    for layer in range(len(sizes) - 1):
        end = begin + sizes[layer] * sizes[layer + 1]
        record[step, 1 + layer] = square_of_mean(grad, begin, end, n_rows)
        if len(grad) > n_coefficients:
            record[step, 1 + layer] += square_of_mean(grad, after, after + sizes[layer + 1], n_rows)
        begin, after = end, after + sizes[layer + 1]


def square_of_mean(grad, begin, end, n_rows):
    """Return the square of a part of the mean gradient."""
    square = 0.0
    for i in range(begin, end):
        mean = grad.dtype.type(grad[i] / n_rows)  # whose square is to overflow where NumPy's does
        square += mean * mean
    return square


def network_rows() -> Rows:
    """Return what dense rows do in a network."""
    return dense_rows(False)._replace(gradient=gradient, complete_gradient=complete_gradient)
