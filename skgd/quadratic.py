r"""Minima of quadratic functions: with an L1 norm, and by conjugate gradients.

A quadratic function plus the L1 norm is minimized by feature-sign search: signs are held until a coefficient reaches
zero; then the best point of the way is taken, and signs are chosen again.

References
----------
H. Lee, A. Battle, R. Raina and A. Y. Ng, "Efficient sparse coding algorithms", NIPS 2006.
J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, chapter 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Solve: TypeAlias = Callable[[np.ndarray], np.ndarray]

_EPS = float(np.finfo(np.float64).eps)
_SIGN_CHANGES = 60
_TURNS = 30
_PRODUCTS = 60  # with the Hessian, at most
_RECENT = 5  # products; where they add less than a tenth, it is enough


def inverse(hessian: np.ndarray, n_rows: int) -> Solve:
    """Return what multiplies by the inverse of a positive semidefinite matrix, made of products of so many rows.

    Directions whose curvature is rounding are hardly moved along.
    """
    size = np.sqrt(np.diag(hessian))
    size[size == 0.0] = 1.0
    scaled, rounding = hessian / size / size[:, np.newaxis], max(n_rows, len(size)) * _EPS
    while True:
        try:
            factor = cho_factor(scaled + rounding * np.eye(len(size)), check_finite=False)
            break
        except LinAlgError:
            rounding *= 10.0

    def solve(values: np.ndarray) -> np.ndarray:
        units = size if values.ndim == 1 else size[:, np.newaxis]
        return cho_solve(factor, values / units, check_finite=False) / units

    return solve


def least_subgradient(gradient: np.ndarray, parameters: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """Return the subgradient of the smallest norm, of a function with this gradient plus the L1 norm."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0.0)
    return np.where(parameters == 0.0, at_zero, gradient + l1 * np.sign(parameters))


def minimum_with_l1(
    hessian: np.ndarray, parameters: np.ndarray, gradient: np.ndarray, l1: np.ndarray, n_rows: int
) -> tuple[np.ndarray, float]:
    """Return where a quadratic function plus the L1 norm is lowest, and how far below its value at ``parameters``."""
    now, smooth = parameters.copy(), gradient
    fall, promised, rests = 0.0, 0.0, False
    rounding = 1e-12 * (np.abs(gradient).max() + 1e-300)
    for _ in range(_SIGN_CHANGES):
        slope = least_subgradient(smooth, now, l1)
        active = now != 0.0
        rests = rests or not (np.abs(slope[active]) > rounding).any()
        if rests:
            entering = int(np.argmax(np.abs(slope)))
            if not np.abs(slope[entering]) > rounding:
                return now, fall
            active[entering] = True
        among = np.flatnonzero(active)
        step = np.zeros_like(now)
        step[among] = -inverse(hessian[np.ix_(among, among)], n_rows)(slope[among])
        promised = -0.5 * float(slope @ step)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossings = np.where(step != 0.0, -now / step, np.inf)
        shares = np.append(crossings[(crossings > 0.0) & (crossings < 1.0) & (l1 > 0.0)], 1.0)
        points = now + shares[:, np.newaxis] * step
        points[:-1][np.abs(points[:-1]) <= 1e-14 * np.abs(now)] = 0.0
        bent = hessian @ step
        rises = shares * (smooth @ step) + 0.5 * shares**2 * (step @ bent) + (np.abs(points) - np.abs(now)) @ l1
        best = int(np.argmin(rises))
        if rises[best] < -_EPS * fall:
            now, smooth = points[best], smooth + shares[best] * bent
            fall, rests = fall - float(rises[best]), False
        elif rests:
            break
        else:  # what is left of the slopes is rounding
            rests = True
    return now, fall + promised  # by the last step, if it were not for signs that change


def minimum_in_turns(
    hessian: np.ndarray, parameters: np.ndarray, gradient: np.ndarray, l1: np.ndarray, n_rows: int
) -> tuple[np.ndarray, float]:
    """Return the same for (classes, inputs) parameters, of one class after the other, as the minimum is not unique."""
    n_classes, n_inputs = parameters.shape
    blocks = hessian.reshape(n_classes, n_inputs, n_classes, n_inputs)
    now, total = parameters.copy(), 0.0
    for _ in range(_TURNS):
        before = total
        for k in range(n_classes):
            slope = gradient[k] + np.einsum("ijk,jk->i", blocks[k], now - parameters)
            now[k], fall = minimum_with_l1(blocks[k, :, k], now[k], slope, l1[k], n_rows)
            total += fall
        if total - before <= 0.05 * total:
            break
    return now, total


def fall_by_products(
    product: Callable[[np.ndarray], np.ndarray], gradient: np.ndarray, diagonal: np.ndarray, far: float
) -> float:
    """Return by how much conjugate gradients lower a quadratic function, until they add little, or to ``far``."""
    falls = [0.0]
    residual = -gradient
    direction = residual / diagonal
    square = float((residual * direction).sum())
    while square > 0.0 and len(falls) <= _PRODUCTS and falls[-1] <= far:
        image = product(direction)
        curvature = float((direction * image).sum())
        if not curvature > 0.0:
            break
        share = square / curvature
        falls.append(falls[-1] + 0.5 * share * square)
        if len(falls) > _RECENT and falls[-1] - falls[-1 - _RECENT] < 0.1 * falls[-1]:
            break
        residual = residual - share * image
        scaled = residual / diagonal
        square, before = float((residual * scaled).sum()), square
        direction = scaled + square / before * direction
    return falls[-1]
