"""What "auto" decides: the rates."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_diabetes

from skgd import GDRegressor


def test_automatic_rates_do_not_diverge_whatever_their_factor():
    """Steps at an automatic rate are implicit: even a thousand times the rate only adds noise."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    model = GDRegressor(learning_rate="constant", random_state=0).fit(X, y)

    class Reckless(type(model.optimizer_)):
        @staticmethod
        def auto_learning_rate(*data):
            return 1000.0 * type(model.optimizer_).auto_learning_rate(*data)

    reckless = GDRegressor(optimizer=Reckless(), batch_size=1, max_iter=5, tol=None, random_state=0).fit(X, y)
    assert reckless.score(X, y) > 0.3


@pytest.mark.parametrize("as_format", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("n_columns", "rate"), [(999, 0.5), (1000, 3.0)])
def test_rates_of_categories(n_columns, rate, as_format):
    """Of columns of mostly zeros, the rate depends on whether there are a thousand, in `fit` and in a stream."""
    X = as_format(np.eye(200, n_columns))
    y = np.arange(200.0)
    model = GDRegressor(precondition=False, fit_intercept=False, max_iter=1, tol=None).fit(X, y)
    assert model.history_["learning_rate"][-1] == pytest.approx(rate)
    model = GDRegressor(precondition=False, fit_intercept=False, batch_size=None).partial_fit(X, y)
    assert model.history_["learning_rate"][-1] == pytest.approx(rate)
