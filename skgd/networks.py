r"""Networks: layers of neurons, from the input to the prediction and back.

A layer makes :math:`z = a_{in} W + b` of its inputs and hands on :math:`a = \varphi(z)`; the last one hands on z, the
prediction. Without hidden layers this is the linear model. Backpropagation is the chain rule from the last layer to the
first: with :math:`\delta` the loss's derivative with respect to a layer's z,

.. math:: \frac{\partial \ell}{\partial W} = a_{in}^T \delta, \qquad \frac{\partial \ell}{\partial b} = \sum \delta,
          \qquad \delta_{in} = (\delta W^T) \odot \varphi'(z_{in})

A pair of neurons with opposite inputs represents a linear function if :math:`\varphi(z) - \varphi(-z)` is proportional
to z, as for most rectifiers, and nearly so if it is for small z, as for the hyperbolic tangent. So a network can start
at a linear model (compare the looks-linear initialization of Balduzzi et al.).

References
----------
D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by back-propagating errors", Nature 323,
1986.
D. Balduzzi, M. Frean, L. Leary, J. P. Lewis, K. W.-D. Ma and B. McWilliams, "The shattered gradients problem: if
resnets are the answer, then what is the question?", ICML 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from skgd.activations import Activation
from skgd.measuring import Matrix

_NEARLY = 0.013  # of the standard deviation of what a pair receives: the error of one that is nearly linear
_SMALLEST_SIZE = 0.05  # of what such a pair receives: with less, steps and the penalty would be large beside it

# The coefficients, (n_inputs, n_outputs), and the intercepts, (n_outputs,).
Layer: TypeAlias = tuple[np.ndarray, np.ndarray]


def forward(
    layers: Sequence[Layer], X: Matrix, activation: Activation
) -> tuple[list[Matrix], list[np.ndarray], np.ndarray]:
    """Return the inputs of each layer, what each hidden layer's neurons receive, and the prediction."""
    inputs, received, hyper = [X], [], activation.hyper()
    *hidden, (coef, intercept) = layers
    for hidden_coef, hidden_intercept in hidden:
        z = inputs[-1] @ hidden_coef
        z += hidden_intercept
        received.append(z)
        inputs.append(activation.value(received[-1], hyper))
    return inputs, received, inputs[-1] @ coef + intercept


def backward(
    layers: Sequence[Layer],
    inputs: Sequence[Matrix],
    received: Sequence[np.ndarray],
    slopes: np.ndarray,
    activation: Activation,
) -> list[np.ndarray]:
    """Return the loss's derivatives with respect to what each layer receives; the last one's are ``slopes``."""
    deltas, hyper = [slopes], activation.hyper()
    for (coef, _), z, a in zip(layers[:0:-1], received[::-1], inputs[:0:-1], strict=True):
        delta = deltas[-1] @ coef.T
        delta *= activation.derivative(z, a, hyper)
        deltas.append(delta)
    return deltas[::-1]


def initial_layers(sizes: Sequence[int], activation: Activation, random_state: np.random.RandomState) -> list[Layer]:
    """Return layers to begin with: random, so that neurons differ, and with a variance that keeps that of what passes.

    The intercepts of hidden layers are as large as a coefficient: of rectifiers, they spread the kinks over the inputs.
    """
    layers: list[Layer] = []
    for n_inputs, n_outputs in pairwise(sizes):
        hidden = len(layers) < len(sizes) - 2
        he = hidden and activation.initialization == "he"
        variance = 2.0 / (n_inputs if he else n_inputs + n_outputs)
        bound = math.sqrt(3.0 * variance)
        coef = random_state.uniform(-bound, bound, (n_inputs, n_outputs))
        layers.append((coef, random_state.uniform(-bound, bound, n_outputs) if hidden else np.zeros(n_outputs)))
    return layers


def represents_linear_model(layers: Sequence[Layer], activation: Activation) -> bool:
    """Say whether each hidden layer has a pair of neurons per output, whose difference is linear, or nearly so."""
    n_outputs = layers[-1][0].shape[1]
    return min(coef.shape[1] for coef, _ in layers[:-1]) >= 2 * n_outputs and linear_pair(activation)[0] != 0.0


def is_linear_in_pairs(activation: Activation) -> bool:
    """Say whether the difference of a pair of neurons is linear for inputs of any size."""
    return math.isinf(linear_pair(activation)[1])


def at_linear_model(layers: Sequence[Layer], linear: Layer, activation: Activation, samples: Matrix) -> list[Layer]:
    """Return layers that predict what a linear model does, by pairs of neurons; the others stay what they are.

    The last layer ignores the other neurons at first: its coefficients of them are zero. Coefficients of pairs that are
    linear in front of a layer and behind it are as large as each other; of pairs that are nearly linear, they are such
    that most samples like these stay where they are.
    """
    coef, intercept = linear
    slope, size = linear_pair(activation)
    norms = np.sqrt(np.square(coef).sum(axis=0))
    used = np.flatnonzero(norms)
    shrunk = np.sqrt(norms)[used]
    if not math.isinf(size):
        received = np.sqrt(np.square(samples @ coef[:, used]).mean(axis=0))
        # For the sake of larger ones, log-odds say, the penalty on the coefficients behind would outweigh the loss.
        shrunk = np.maximum(norms[used], np.minimum(received, 1.0)) / size
    signs, pairs = np.tile([1.0, -1.0], len(used)), slice(0, 2 * len(used))
    first, *others = [(w.copy(), b.copy()) for w, b in layers]
    first[0][:, pairs] = signs * np.repeat(coef[:, used] / shrunk, 2, axis=1)
    first[1][pairs] = 0.0
    for w, b in others[:-1]:
        w[:, pairs], b[pairs] = 0.0, 0.0
        w[pairs, pairs] = np.kron(np.eye(len(used)), [[1.0, -1.0], [-1.0, 1.0]]) / slope
    last = np.zeros_like(layers[-1][0])
    last[np.arange(2 * len(used)), np.repeat(used, 2)] = signs * np.repeat(shrunk, 2) / slope
    return [first, *others[:-1], (last, np.asarray(intercept))]


def linear_pair(activation: Activation) -> tuple[float, float]:
    """Return the slope of the difference of a pair of neurons, and for inputs of which size it is linear, or nearly so.

    The size is infinite if the difference is linear. The slope is 0 if it is not even nearly so, or nearly so where a
    neuron at rest is not silent: what all of them hand on would hide what each of them says.
    """
    sizes, hyper = np.geomspace(1e-3, 1.0, 61), activation.hyper()
    normal, weights = np.polynomial.hermite_e.hermegauss(16)
    z = np.append(np.outer(sizes, normal).ravel(), 8.0)
    with np.errstate(all="ignore"):
        slopes = (activation.value(z, hyper) - activation.value(-z, hyper)) / z
        rest = activation.value(np.zeros(1), hyper)[0]
    slope = float(slopes[np.argmin(np.abs(z))])
    if not np.isfinite(slopes).all() or slope == 0.0:
        return 0.0, 0.0
    differ = slopes / slope - 1.0
    if (np.abs(differ) <= 1e-6).all():
        return slope, math.inf
    squares = np.square(differ[:-1].reshape(len(sizes), -1) * normal)
    far = np.flatnonzero(squares @ weights > _NEARLY**2 * weights.sum())
    size = float(sizes[-1] if not len(far) else sizes[max(far[0] - 1, 0)])
    return (slope, size) if size >= _SMALLEST_SIZE and abs(rest) <= 1e-6 else (0.0, 0.0)
