r"""Networks: layers of neurons, from the input to the prediction and back.

A layer makes :math:`z = a_{in} W + b` of its inputs and hands on :math:`a = \varphi(z)`; the last one hands on z, the
prediction. Without hidden layers this is the linear model. Backpropagation is the chain rule from the last layer to the
first: with :math:`\delta` the loss's derivative with respect to a layer's z,

.. math:: \frac{\partial \ell}{\partial W} = a_{in}^T \delta, \qquad \frac{\partial \ell}{\partial b} = \sum \delta,
          \qquad \delta_{in} = (\delta W^T) \odot \varphi'(z_{in})

References
----------
D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by back-propagating errors", Nature 323,
1986.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from skgd.activations import Activation
from skgd.coordinates import Matrix

# The coefficients, (n_inputs, n_outputs), and the intercepts, (n_outputs,).
Layer: TypeAlias = tuple[np.ndarray, np.ndarray]


def forward(
    layers: Sequence[Layer], X: Matrix, activation: Activation
) -> tuple[list[Matrix], list[np.ndarray], np.ndarray]:
    """Return the inputs of each layer, what each hidden layer's neurons receive, and the prediction."""
    inputs, received, hyper = [X], [], activation.hyper()
    *hidden, (coef, intercept) = layers
    for hidden_coef, hidden_intercept in hidden:
        received.append(inputs[-1] @ hidden_coef + hidden_intercept)
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
        deltas.append((deltas[-1] @ coef.T) * activation.derivative(z, a, hyper))
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
