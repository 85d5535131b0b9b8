"""The objective where features outnumber samples.

With an L2 penalty that is the same for all features, the coefficients at the minimum are combinations of the samples
(the representer theorem). In an orthonormal basis of these, a linear model of n samples has n parameters, however many
features there are, and predictions, penalty and minimum are the same.

References
----------
B. Schölkopf, R. Herbrich and A. J. Smola, "A generalized representer theorem", COLT 2001.
T. Hastie and R. Tibshirani, "Efficient quadratic regularization for expression arrays", Biostatistics 5, 2004.
"""

from __future__ import annotations

import numpy as np

from skgd.curvature import Problem
from skgd.measuring import Matrix
from skgd.objective import Objective


class SpannedProblem(Problem):
    """The problem with parameters for combinations of the samples, in place of those of features."""

    def __init__(self, objective: Objective, X: Matrix, y: np.ndarray, weight: np.ndarray | None):
        super().__init__(objective, X, y, weight)
        n_features = X.shape[1]
        by_feature = self.rows[:, :n_features]
        self._directions, scores = np.linalg.qr(by_feature.T)
        self._directions[~by_feature.any(axis=0)] = 0.0  # rounding, which the user's unit may turn into predictions
        self.rows = np.column_stack([scores.T, self.rows[:, n_features:]])
        self.l1, self.l2 = self._penalties()

    def _penalties(self) -> list[np.ndarray]:
        kept = [*range(self.rows.shape[1] - self.objective.fit_intercept), *[-1] * self.objective.fit_intercept]
        return [factors[kept] for factors in super()._penalties()]  # the same for all but intercepts

    def parameters(self, theta: np.ndarray) -> np.ndarray:
        """Return the matrix of a flat parameter vector, without what no prediction depends on."""
        by_feature, n_features = super().parameters(theta), len(self._directions)
        return np.vstack([self._directions.T @ by_feature[:n_features], by_feature[n_features:]])

    def flat(self, parameters: np.ndarray) -> np.ndarray:
        """Return the flat parameter vector of a matrix for combinations."""
        n_directions = self._directions.shape[1]
        by_feature = np.vstack([self._directions @ parameters[:n_directions], parameters[n_directions:]])
        return super().flat(by_feature)
