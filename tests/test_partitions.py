"""Training on partitions: the model of ``fit``, whatever the partitions, and errors that name the partition."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LogisticRegression, QuantileRegressor, Ridge

from skgd import GDClassifier, GDRegressor, partitions
from skgd.coordinates import Coordinates
from skgd.curvature import Problem
from skgd.descent import LBFGS, NewtonDescent
from skgd.losses import LogLoss, Poisson, Quantile
from skgd.objective import Objective
from skgd.partition_sums import HeldOut, Sums, in_tree


def split(X, y, weight=None, *, number=5, seed=0, by=None):
    """Return partitions of unequal sizes, at random or sorted."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y)) if by is None else np.argsort(by, kind="stable")
    edges = np.sort(rng.choice(np.arange(1, len(y)), number - 1, replace=False))
    rows = [part for part in np.split(order, edges) if len(part)]
    return [(X[i], y[i]) if weight is None else (X[i], y[i], weight[i]) for i in rows]


def problem(kind, n_samples=400, n_features=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) * rng.uniform(0.1, 10.0, n_features) + rng.normal(size=n_features)
    score = (X - X.mean(axis=0)) / X.std(axis=0) @ rng.normal(size=n_features)
    noise = rng.normal(size=n_samples)
    if kind == "regression":
        return X, score + noise
    if kind == "counts":
        return X, rng.poisson(np.exp(0.3 * score)).astype(float)
    if kind == "targets":
        return X, np.column_stack([score + noise, 100.0 * noise - score])
    if kind == "binary":
        return X, np.where(score + noise > 0.3, "yes", "no")
    if kind == "classes":
        return X, np.digitize(score + noise, [-1.0, 1.0])
    return X, np.column_stack([score + noise > 0.0, noise > 1.0]).astype(int)


# ---------------------------------------------------------------------------------------------------------------------
# The model of ``fit``
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (GDRegressor(), load_diabetes(return_X_y=True, scaled=False)),
        (GDClassifier(), load_breast_cancer(return_X_y=True)),
        (GDClassifier(), load_iris(return_X_y=True)),
        (GDRegressor(), problem("regression")),
        (GDRegressor(loss="poisson"), problem("counts")),
        (GDRegressor(), problem("targets")),
        (GDClassifier(), problem("binary")),
        (GDClassifier(loss="squared_hinge"), problem("classes")),
        (GDClassifier(), problem("labels")),
        (GDClassifier(fit_intercept=False), problem("binary")),
        (GDRegressor(loss="huber"), problem("regression")),
        (GDRegressor(precondition=False, alpha=1e-3), problem("regression")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("sort", [False, True])
def test_same_model_as_fit(estimator, data, sort):
    X, y = data
    expected = clone(estimator).fit(X, y)
    by = (y if y.ndim == 1 else y[:, 0]) if sort else None
    model = partitions.fit(clone(estimator), split(X, y, by=by))
    assert model.alpha_ == pytest.approx(expected.alpha_, rel=1e-6)
    size = np.abs(expected.coef_).max()
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=2e-3, atol=2e-3 * size)
    assert model.score(X, y) == pytest.approx(expected.score(X, y), abs=5e-3)
    assert model.converged_
    assert model.stop_reason_ == "converged"
    assert len(model.history_["objective"]) == model.n_iter_


@pytest.mark.parametrize("weighted", [False, True])
def test_minimum_of_other_solvers(weighted):
    X, y = problem("regression", 300)
    weight = np.random.default_rng(1).uniform(0.0, 3.0, 300) if weighted else None
    total = 300.0 if weight is None else weight.sum()
    model = partitions.fit(GDRegressor(alpha=0.01), split(X, y, weight))
    ridge = Ridge(alpha=0.01 * total, tol=1e-12).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.intercept_, ridge.intercept_, rtol=1e-8)
    lasso = Lasso(alpha=0.1 / 2, tol=1e-12).fit(X, y, weight)
    model = partitions.fit(GDRegressor(alpha=0.1 / 2, l1_ratio=1.0, tol=1e-10), split(X, y, weight))
    np.testing.assert_allclose(model.coef_, lasso.coef_, rtol=1e-6, atol=1e-8)
    labels = (y > 0.5).astype(int)
    model = partitions.fit(GDClassifier(alpha=0.01, tol=1e-10), split(X, labels, weight, by=labels))
    logistic = LogisticRegression(C=1.0 / (0.01 * total), tol=1e-12, max_iter=10_000).fit(X, labels, weight)
    np.testing.assert_allclose(model.coef_, logistic.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_values_that_say_nothing_do_not_keep_a_class_from_being_learned(seed):
    """Misrecorded values of the right sign cost nothing: only a penalty in their units would mind."""
    X, w, rng = outlying(seed)
    y = X @ w + rng.logistic(size=len(X)) > 0.0
    for column, sign in enumerate(w > 0.0):
        X[np.flatnonzero(y == sign)[column], column] = 1e5
    model = partitions.fit(GDClassifier(), split(X, y))
    others = rng.normal(size=(5000, len(w)))
    best = ((others @ w > 0.0) == (others @ w + rng.logistic(size=5000) > 0.0)).mean()
    assert model.score(others, others @ w + rng.logistic(size=5000) > 0.0) > best - 0.02


@pytest.mark.parametrize(("n_samples", "size"), [(1000, 1e4), (1000, 1e5)])
def test_enormous_rows_leave_the_classes_of_fit(n_samples, size):
    """In units of the other rows, these are so far away that the usual steps all lead up."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, w = rng.normal(size=(2 * n_samples, 6)), 1.5 * rng.normal(size=6)
        y = X @ w + rng.logistic(size=len(X)) > 0.0
        X[rng.choice(n_samples, 6, replace=False)] *= size
        rows, others = slice(n_samples), slice(n_samples, None)
        expected = GDClassifier().fit(X[rows], y[rows]).score(X[others], y[others])
        model = partitions.fit(GDClassifier(), split(X[rows], y[rows]))
        assert model.score(X[others], y[others]) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("size", [1e3, 1e5])
def test_outliers_count_less_where_they_do_in_fit(size):
    for seed in range(3):
        X, w, rng = outlying(seed)
        y = X @ w + rng.logistic(size=len(X)) > 0.0
        expected = GDClassifier("hinge", random_state=0).fit(X, y).score(X, y)
        X[rng.integers(len(X), size=5), range(5)] = size
        model = partitions.fit(GDClassifier("hinge"), split(X, y))
        assert model.score(X, y) > expected - 0.005


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
@pytest.mark.parametrize("seed", range(3))
def test_an_enormous_row_changes_no_more_than_in_fit(loss, seed):
    X, w, rng = outlying(seed)
    X[0] *= 1e4
    y = X @ w + rng.normal(size=len(X))
    y[0] = 1.0
    expected, model = GDRegressor(loss).fit(X, y), partitions.fit(GDRegressor(loss), split(X, y))
    assert model.score(X[1:], y[1:]) == pytest.approx(expected.score(X[1:], y[1:]), abs=1e-3)


def test_a_step_that_was_too_long_is_taken_back_and_shortened_until_it_leads_down():
    """Of Poisson's loss at -5, the second derivative is tiny, and Newton's step ends where the loss is enormous."""
    objective = Objective(Poisson(), 0, 1, True, 0.0, 0.0, Coordinates())
    descent = NewtonDescent(Problem(objective, np.zeros((1, 0)), np.ones((1, 1)), None), np.array([-5.0]), 1)

    def loss(theta):
        return float(np.exp(theta[0]) - theta[0])

    losses = []
    for _ in range(30):
        [theta], others = descent.request.theta, descent.request.others
        slope, at_others = np.array([[np.exp(theta) - 1.0]]), tuple(map(loss, others))
        losses.append(loss([theta]))
        sums = Sums(1.0, np.array([losses[-1]]), slope, np.zeros(1), 0.0, (np.exp([[theta]]),), at_others)
        if not descent.take(sums).accepted:
            assert loss(descent.theta) == min(losses)
    assert descent.theta == pytest.approx(0.0, abs=1e-6)
    assert max(losses) > 1e3


def outlying(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(10_000, 5)), 2.0 * rng.normal(size=5), rng


def test_multinomial_minimum():
    X, y = problem("classes", 300)
    model = partitions.fit(GDClassifier(alpha=0.01, tol=1e-10), split(X, y, by=y))
    logistic = LogisticRegression(C=1.0 / (0.01 * 300), tol=1e-12, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(model.coef_, logistic.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["hinge", "absolute_error", Quantile(0.8), "epsilon_insensitive"], ids=str)
def test_losses_with_kinks_come_close_to_the_minimum(loss):
    if loss == "hinge":
        X, y = problem("binary", 300)
        estimator = GDClassifier(loss=loss, alpha=0.01, tol=1e-3)
    else:
        X, y = problem("regression", 300)
        estimator = GDRegressor(loss=loss, alpha=0.01, tol=1e-3)
    expected = clone(estimator).fit(X, y).history_["objective"][-1]
    model = partitions.fit(estimator, split(X, y))
    assert model.converged_
    assert min(model.history_["objective"]) <= expected * 1.003
    if isinstance(loss, Quantile):
        model = partitions.fit(GDRegressor(loss=loss, alpha=0.0, tol=1e-4), split(X, y))
        other = QuantileRegressor(quantile=0.8, alpha=0.0, solver="highs").fit(X, y)
        assert np.abs(model.predict(X) - other.predict(X)).mean() < 0.05 * y.std()


def sparse_rows(rng, n_samples):
    return sp.csr_array(rng.random((n_samples, 800)) * (rng.random((n_samples, 800)) < 0.05))


@pytest.fixture(scope="module")
def wide():
    rng = np.random.default_rng(0)
    X = sparse_rows(rng, 600)
    score = X @ rng.normal(size=800)
    return X, (score > 0.0).astype(int), score


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0, 0.5])
def test_minimum_with_many_features(wide, l1_ratio):
    X, y, _ = wide
    model = partitions.fit(GDClassifier(alpha=3e-3, l1_ratio=l1_ratio, tol=1e-7), split(X, y))
    C = 1.0 / (3e-3 * 600)
    other = LogisticRegression(
        C=C, solver="saga" if l1_ratio else "lbfgs", tol=1e-7, max_iter=20_000, l1_ratio=l1_ratio, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of parameters change between versions of scikit-learn
        if l1_ratio:
            other.set_params(penalty="elasticnet")
        other.fit(X, y)

    def objective(fitted):
        w = fitted.coef_.ravel()
        margin = np.where(y, 1.0, -1.0) * fitted.decision_function(X)
        penalty = l1_ratio * np.abs(w).sum() + 0.5 * (1.0 - l1_ratio) * (w @ w)
        return np.logaddexp(0.0, -margin).mean() + 3e-3 * penalty

    assert objective(model) <= objective(other) + 1e-5
    assert model.converged_
    if l1_ratio:
        assert 0.5 < (model.coef_ == 0.0).mean() < 1.0


@pytest.mark.parametrize("dense", [False, True])
def test_many_features_by_default(dense):
    rng = np.random.default_rng(0)
    X = sparse_rows(rng, 5000)
    y = (X @ rng.normal(size=800) + 0.5 * rng.normal(size=5000) > 0.0).astype(int)
    X = X.toarray() if dense else X
    expected = GDClassifier(random_state=0).fit(X[:4000], y[:4000]).score(X[4000:], y[4000:])
    parts = split(X[:4000], y[:4000], by=y[:4000])
    model = partitions.fit(GDClassifier(), parts)
    assert model.score(X[4000:], y[4000:]) >= expected - 0.02
    assert model.stop_reason_ == "validation"
    # The last passes are over all samples: the last three steps to the best parameters and one more, of at most eight
    # passes each.
    losses = np.array(model.history_["validation_loss"])
    n_held_out = np.isfinite(losses).sum()
    assert np.isfinite(losses[:n_held_out]).all()
    assert n_held_out < model.n_iter_ == model.best_iter_ <= n_held_out + 32
    with pytest.warns(ConvergenceWarning, match="max_iter="):
        cut = partitions.fit(GDClassifier(max_iter=n_held_out + 1), parts)
    assert (cut.stop_reason_, cut.converged_) == ("max_iter", False)
    assert cut.best_iter_ <= n_held_out < cut.n_iter_


@pytest.mark.parametrize("factor", [1e3, -1e3])
@pytest.mark.parametrize("held_out", [False, True])
def test_outliers_have_no_say_with_many_features(factor, held_out):
    rng = np.random.default_rng(1)
    X = sparse_rows(rng, 5000).toarray()
    y = (X @ rng.normal(size=800) + 0.5 * rng.normal(size=5000) > 0.0).astype(int)
    outlying = np.arange(4)
    if held_out:  # a tenth of the samples
        outlying = np.concatenate([HeldOut(0.1, 1).mask(number, 1000) for number in range(4)]).nonzero()[0][:4]
    scores = []
    for by in (1.0, factor):
        X[outlying] *= by
        parts = [(sp.csr_array(X[start : start + 1000]), y[start : start + 1000]) for start in range(0, 4000, 1000)]
        scores.append(partitions.fit(GDClassifier(), parts).score(X[4000:], y[4000:]))
    assert scores[1] >= scores[0] - 0.03


# What the first one gains of two steps that fall by less than two percent: nothing, 1.1 %, and 0.5 %: too little.
@pytest.mark.parametrize(("seed", "n_later"), [(14, 2), (72, 1), (87, 2)])
def test_the_last_steps_to_the_best_parameters_are_taken_again(seed, n_later, monkeypatch):
    dampings, losses, coefs = [], [], []
    take = LBFGS.take

    def note_ends(self, sums):
        evaluation = take(self, sums)
        if evaluation.step is not None:
            dampings.append(evaluation.step.damping)
            coefs.append(self._objective.to_user(evaluation.theta)[0][0])
            losses.extend([] if sums.held_out is None else [sums.held_out.mean_losses.sum()])
        return evaluation

    monkeypatch.setattr(LBFGS, "take", note_ends)
    rng = np.random.default_rng(seed)
    X = sparse_rows(rng, 1200)
    y = (X @ rng.normal(size=800) + 0.5 * rng.normal(size=1200) > 0.0).astype(int)
    model = partitions.fit(GDClassifier(), split(X, y, by=y))
    best = len(losses) - 1 - n_later
    assert losses[best] < 0.99 * losses[best - 1]
    assert min(losses[best:]) >= 0.99 * losses[best]
    assert dampings[len(losses) :] == [*dampings[best - 2 : best + 1], dampings[best] / 2.0]
    np.testing.assert_allclose(model.coef_[0], np.mean(coefs[-3:], axis=0)[:, 0], rtol=1e-9, atol=1e-12)
    # They lead about as far as they did: from one to the next, coefficients grow by 40 % and more.
    lengths = [np.linalg.norm(coef) for coef in coefs]
    np.testing.assert_allclose(lengths[len(losses) : -1], lengths[best - 2 : best + 1], rtol=0.15)


def test_small_directions_are_learned_behind_large_ones_that_say_nothing():
    rng = np.random.default_rng(0)
    loud = rng.normal(size=(5, 600))
    X = 3.0 * rng.normal(size=(4000, 5)) @ loud + rng.normal(size=(4000, 600))
    w = rng.normal(size=600)
    w -= np.linalg.lstsq(loud.T, w, rcond=None)[0] @ loud
    y = (X @ w > 0.0).astype(int)
    model = partitions.fit(GDClassifier(), split(X[:3000], y[:3000]))
    assert model.score(X[3000:], y[3000:]) > 0.8


def test_training_goes_on_while_steps_gain_more_and_more():
    rng = np.random.default_rng(4)
    X = 4.0 * rng.normal(size=(4000, 1)) + rng.normal(size=(4000, 600))
    w = rng.normal(size=600)
    score = X @ (w - 0.5 * w.mean())  # what features have in common says a little, and is learned first
    y = (score > 0.3 * score.std() * rng.logistic(size=4000)).astype(int)
    model = partitions.fit(GDClassifier(), split(X[:3000], y[:3000]))
    assert model.score(X[3000:], y[3000:]) > 0.75


def path_of(X, y, lengths, n_passes, **penalty):
    """Return what L-BFGS says of each pass over binary labels, and the parameters after them."""
    settings = {"alpha": 0.0, "l1_ratio": 0.0} | penalty
    objective = Objective(LogLoss(), X.shape[1], 1, fit_intercept=True, coordinates=Coordinates(), **settings)
    descent, evaluations = LBFGS(objective, np.zeros(X.shape[1] + 1), 1.0, lengths), []
    rows = np.column_stack([X, np.ones(len(X))])
    for _ in range(n_passes):
        raw = rows @ descent.request.theta
        losses, slopes = np.logaddexp(0.0, raw) - y * raw, 1.0 / (1.0 + np.exp(-raw)) - y
        gradient = rows.T @ slopes / len(y)
        evaluations.append(descent.take(Sums(1.0, np.array([losses.mean()]), gradient, np.zeros_like(gradient))))
        penalized = np.append(evaluations[-1].theta[:-1], 0.0) * settings["alpha"] * (1.0 - settings["l1_ratio"])
        assert evaluations[-1].squared_gradient == pytest.approx(np.square(gradient + penalized).sum())
    return evaluations, descent.theta


def test_lengths_of_parameters_are_those_of_columns_divided_by_them():
    X, y = problem("binary")
    X, y, lengths = X / X.std(axis=0), (y == "yes").astype(float), np.append(np.linspace(0.3, 1.0, X.shape[1]), 1.0)
    one, theta = path_of(X, y, lengths, 12)
    other, scaled = path_of(X / lengths[:-1], y, np.ones_like(lengths), 12)
    assert sum(each.step is not None for each in one) >= 3
    assert [each.step is None for each in one] == [each.step is None for each in other]
    np.testing.assert_allclose(theta * lengths, scaled, rtol=1e-6)
    np.testing.assert_allclose([each.decrement for each in one], [each.decrement for each in other], rtol=1e-6)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_the_minimum_is_the_same_in_all_lengths(l1_ratio):
    X, y = problem("binary")
    X, y, lengths = X / X.std(axis=0), (y == "yes").astype(float), np.append(np.linspace(0.3, 1.0, X.shape[1]), 1.0)
    penalty = {"alpha": 0.1, "l1_ratio": l1_ratio}
    minima = [path_of(X, y, each, 80, **penalty)[1] for each in (None, lengths)]
    np.testing.assert_allclose(*minima, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sparse", [False, True])
def test_coefficients_of_rare_features_are_shorter_on_the_path(sparse, monkeypatch):
    lengths, begin = [], LBFGS.__init__
    monkeypatch.setattr(LBFGS, "__init__", lambda self, *args: lengths.append(args[3]) or begin(self, *args))
    rng = np.random.default_rng(0)
    shares = 0.3 / np.arange(1, 801) ** 0.8
    X = np.where(rng.random((600, 800)) < shares, rng.uniform(1.0, 2.0, (600, 800)), 0.0)
    y = rng.random(600) < 0.5
    X = sp.csr_array(X) if sparse else 10.0 ** rng.integers(-3, 3, 800) * rng.normal(size=X.shape)
    partitions.fit(GDClassifier(), split(X, y))
    partitions.fit(GDClassifier(alpha=1e-2), split(X, y))
    by_feature, intercept = lengths[0][:-1], lengths[0][-1]
    assert intercept == 1.0
    if sparse:
        assert by_feature[0] > 0.99
        assert 0.55 < by_feature[-200:].mean() < by_feature[20:40].mean() - 0.1 < 0.8
        assert by_feature.min() >= 1e-8 ** (1 / 16)
    else:
        np.testing.assert_allclose(by_feature, 1.0, rtol=1e-6)
    assert lengths[1] is None  # which ends at the minimum


def test_many_outputs_and_features_in_regression(wide):
    X, _, score = wide
    Y = np.column_stack([score, 10.0 * score + 5.0])
    model = partitions.fit(GDRegressor(alpha=1e-3, tol=1e-8), split(X, Y))
    expected = Ridge(alpha=1e-3 * 600, tol=1e-10).fit(X, Y)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), atol=3e-3 * Y.std())


# ---------------------------------------------------------------------------------------------------------------------
# Bits, weights, kinds of partitions
# ---------------------------------------------------------------------------------------------------------------------


def test_tree_depends_on_the_number_only():
    def tree(number):
        return in_tree([str(i) for i in range(number)], lambda one, other: f"({one}{other})")

    assert [tree(n) for n in range(1, 6)] == ["0", "(01)", "((01)2)", "((01)(23))", "(((01)(23))4)"]
    assert tree(0) is None


def test_partitions_of_all_kinds(tmp_path):
    X, y = problem("binary")
    y = (y == "yes").astype(float)
    expected = partitions.fit(GDClassifier(), [(X[:100], y[:100]), (X[100:], y[100:])])
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])

    def read(rows):
        return np.load(tmp_path / "X.npy")[rows], y[rows]

    kinds = {
        "map": [(mapped[:100], y[:100]), (mapped[100:], y[100:])],
        "function": [partial(read, slice(100)), partial(read, slice(100, None))],
        "frame": [(frame[:100], y[:100]), (frame[100:], y[100:])],
        "order": [(np.asfortranarray(X[:100]), y[:100]), (X[100:], y[100:])],
        "columns of labels": [(X[:100], y[:100, np.newaxis]), (X[100:], pd.DataFrame({"y": y[100:]}))],  # no warnings
    }
    for kind, parts in kinds.items():
        model = partitions.fit(GDClassifier(), parts)
        assert np.array_equal(model.coef_, expected.coef_), kind
    assert list(partitions.fit(GDClassifier(), kinds["frame"]).feature_names_in_) == list(frame)
    sparse = partitions.fit(GDClassifier(), [(sp.csr_array(X[:100]), y[:100]), (sp.coo_array(X[100:]), y[100:])])
    np.testing.assert_allclose(sparse.coef_, expected.coef_, rtol=1e-6)


@pytest.mark.parametrize("n_features", [70, 600])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("settings", "solver"),
    [
        ({}, {}),
        ({"precondition": False, "fit_intercept": False, "early_stopping": True, "max_iter": 2}, {}),
        ({"max_iter": 2}, {"solver": "sgd", "n_lanes": 1}),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_order_of_memory_does_not_matter(n_features, dtype, settings, solver):
    X, y = problem("regression", 1200, n_features)
    X, y = X.astype(dtype), y.astype(dtype)
    parts = split(X, y)
    by_columns = [(np.asfortranarray(X_part), y_part) for X_part, y_part in parts]
    models = [partitions.fit(GDRegressor(random_state=0, **settings), each, **solver) for each in (parts, by_columns)]
    assert np.array_equal(models[0].coef_, models[1].coef_)
    assert np.array_equal(models[0].intercept_, models[1].intercept_)


def test_weights_are_copies():
    X, y = problem("classes", 200)
    weight = np.random.default_rng(0).integers(0, 4, 200)
    rows = np.repeat(np.arange(200), weight)
    one = partitions.fit(GDClassifier(), split(X, y, weight.astype(float)))
    other = partitions.fit(GDClassifier(), split(X[rows], y[rows]))
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-6, atol=1e-8)
    assert one.alpha_ == pytest.approx(other.alpha_)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}])
def test_class_weights(class_weight):
    X, y = problem("classes")
    expected = GDClassifier(class_weight=class_weight, alpha=1e-3).fit(X, y)
    model = partitions.fit(GDClassifier(class_weight=class_weight, alpha=1e-3), split(X, y, by=y))
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=2e-3, atol=1e-3)


def test_class_in_one_partition_only_and_empty_partitions():
    X, y = load_iris(return_X_y=True)
    parts = [(X[:50], y[:50]), (X[:0], y[:0]), (X[50:100], y[50:100]), (X[100:], y[100:], np.ones(50))]
    parts.append((X[:3], y[:3], np.zeros(3)))
    model = partitions.fit(GDClassifier(), parts)
    assert list(model.classes_) == [0, 1, 2]
    np.testing.assert_allclose(model.coef_, GDClassifier().fit(X, y).coef_, rtol=1e-2, atol=1e-2)


def test_single_precision_is_kept():
    X, y = problem("binary")
    model = partitions.fit(GDClassifier(), split(X.astype(np.float32), y))
    assert model.coef_.dtype == np.float32
    np.testing.assert_allclose(model.coef_, partitions.fit(GDClassifier(), split(X, y)).coef_, rtol=1e-3, atol=1e-3)


def test_a_fitted_estimator_like_any_other():
    X, y = problem("binary")
    model = partitions.fit(GDClassifier(), split(X, y))
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert "skgd.part" not in pickle.dumps(model).decode("latin1")
    for other in (copy, model):
        other.partial_fit(X[:50], y[:50])
    assert np.array_equal(copy.coef_, model.coef_)
    assert model.score(X, y) > 0.8


# ---------------------------------------------------------------------------------------------------------------------
# Validation, callbacks, warm start
# ---------------------------------------------------------------------------------------------------------------------


def test_validation_set_and_held_out_rows(wide):
    X, y, _ = wide
    estimator = GDClassifier(alpha=1e-6)
    model = partitions.fit(clone(estimator), split(X[:400], y[:400]), X_val=X[400:], y_val=y[400:])
    losses = model.history_["validation_loss"]
    assert model.stop_reason_ == "validation"
    assert model.best_iter_ == np.argmin(losses) + 1 < model.n_iter_
    assert model.best_score_ == model.score(X[400:], y[400:])
    held_out = [
        partitions.fit(clone(estimator).set_params(early_stopping=True, random_state=seed), split(X, y))
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(held_out[0].coef_, held_out[1].coef_)
    assert not np.array_equal(held_out[0].coef_, held_out[2].coef_)
    assert 0.5 < held_out[0].best_score_ <= 1.0


@pytest.mark.parametrize("kind", ["regression", "targets", "labels", "classes", "counts"])
def test_score_of_held_out_rows(kind):
    X, y = problem(kind, 600)
    classifies = kind in ("labels", "classes")
    loss = "poisson" if kind == "counts" else "log_loss" if classifies else "squared_error"
    make = GDClassifier if classifies else GDRegressor
    model = make(loss=loss, early_stopping=True, validation_fraction=0.3, random_state=0)
    partitions.fit(model, split(X, y))
    assert model.best_score_ == pytest.approx(model.score(X, y), abs=0.15)


def test_warm_start_continues(wide):
    X, y, _ = wide
    model = GDClassifier(warm_start=True, max_iter=3, alpha=3e-3)
    with pytest.warns(ConvergenceWarning):
        partitions.fit(model, split(X, y))
    partitions.fit(model.set_params(max_iter=50, tol=1e-6), split(X, y))
    assert model.t_ == len(model.history_["objective"])
    assert model.n_iter_ == model.t_ - 3
    assert model.history_["objective"][3] <= min(model.history_["objective"][:3]) + 1e-12
    whole = partitions.fit(GDClassifier(alpha=3e-3, tol=1e-6), split(X, y))
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=2e-2 * np.abs(whole.coef_).max())
    with pytest.raises(ValueError, match="features"):
        partitions.fit(model, split(X[:, :9], y))


def test_verbose_and_max_iter(wide, capsys):
    X, y, _ = wide
    with pytest.warns(ConvergenceWarning, match="max_iter=4 ") as caught:
        partitions.fit(GDClassifier(max_iter=4, alpha=1e-3, verbose=1), split(X, y))
    assert caught[0].filename == __file__
    assert "ended: max_iter" in capsys.readouterr().out


def test_callbacks(wide):
    pytest.importorskip("sklearn.callback")
    from skgd.callbacks import EarlyStopping

    X, y, _ = wide
    model = GDClassifier(alpha=1e-6, tol=None, max_iter=60)
    model.set_callbacks(EarlyStopping(X[:100], y[:100], patience=2))
    partitions.fit(model, split(X[100:], y[100:]))
    assert model.stop_reason_ == "callback"
    assert model.n_iter_ < 60


def test_training_continues_from_a_checkpoint(wide, tmp_path):
    pytest.importorskip("sklearn.callback")
    from skgd.callbacks import Checkpoint

    X, y, _ = wide
    path = tmp_path / "model.pkl"
    model = GDClassifier(alpha=3e-3, max_iter=4)
    model.set_callbacks(Checkpoint(path))
    with pytest.warns(ConvergenceWarning):
        partitions.fit(model, split(X, y))
    loaded = Checkpoint.load(path)
    with pytest.raises(ValueError, match="are not those of the checkpoint"):
        loaded.fit(X, y)
    partitions.fit(loaded.set_params(max_iter=100), split(X, y))
    assert loaded.converged_
    assert loaded.t_ > 4


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------


def test_partitions_that_disagree():
    X, y = problem("binary", 60)
    first = (X[:30], y[:30])
    frame = pd.DataFrame(X[30:], columns=list("abcdef"))
    others = {
        "the number of features": (X[30:, :3], y[30:]),
        "the dtype of X": (X[30:].astype(np.float32), y[30:]),
        "whether X is sparse": (sp.csr_array(X[30:]), y[30:]),
        "feature names": (frame, y[30:]),
        "the kind of labels": (X[30:], np.arange(30) % 2),
    }
    for what, other in others.items():
        with pytest.raises(ValueError, match=f"Partitions 0 and 1 disagree about {what}"):
            partitions.fit(GDClassifier(), [first, other])
    with pytest.raises(ValueError, match="disagree about the shape of a sample's y"):
        partitions.fit(GDRegressor(), [(X[:30], np.ones(30)), (X[30:], np.ones((30, 2)))])


def test_the_error_of_a_function_names_its_partition():
    def broken():
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone") as raised:
        partitions.fit(GDRegressor(), [problem("regression", 60), broken])
    assert "partition 1" in raised.value.__notes__[0]


def test_a_class_is_no_estimator():
    with pytest.raises(TypeError, match="an instance of GDClassifier or GDRegressor, got the class GDRegressor"):
        partitions.fit(GDRegressor, [problem("regression", 60)])


def test_errors_name_the_partition():
    X, y = problem("regression", 60)
    bad = X.copy()
    bad[37, 2] = np.nan
    with pytest.raises(ValueError, match=r"Partition 1: .*NaN[\s\S]* sample 7, feature 2"):
        partitions.fit(GDRegressor(), [(X[:30], y[:30]), (bad[30:], y[30:])])
    with pytest.raises(ValueError, match=r"Partition 1: .*NaN[\s\S]* sample 7, feature 2"):
        partitions.fit(GDRegressor(), [(sp.csr_array(X[:30]), y[:30]), (sp.csr_array(bad[30:]), y[30:])])
    with pytest.raises(ValueError, match=r"Partition 0: .*y"):
        partitions.fit(GDRegressor(loss="poisson"), [(X, -np.ones(60))])
    with pytest.raises(ValueError, match="Partition 1: X has 30 rows, but y has 20"):
        partitions.fit(GDRegressor(), [(X[:30], y[:30]), (X[30:], y[:20])])
    with pytest.raises(TypeError, match="Partition 0 must be a tuple"):
        partitions.fit(GDRegressor(), (X, y))
    with pytest.raises(ValueError, match="There is no sample to train on"):
        partitions.fit(GDRegressor(), [(X[:0], y[:0])])
    with pytest.raises(ValueError, match="There is no sample to train on"):
        partitions.fit(GDRegressor(), [])
    with pytest.raises(ValueError, match=r"Partition 0: .*weight"):
        partitions.fit(GDRegressor(), [(X, y, -np.ones(60))])
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        partitions.fit(GDClassifier(), [(X, np.ones(60, dtype=int))])
    with pytest.raises(TypeError, match="must be an instance of GDClassifier or GDRegressor, got Ridge"):
        partitions.fit(Ridge(), [(X, y)])


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": (3,)},
        {"optimizer": "adam"},
        {"learning_rate": 0.1},
        {"batch_size": 10},
        {"average": True},
        {"max_grad_norm": 1.0},
    ],
    ids=str,
)
def test_parameters_of_mini_batches_are_refused(parameters):
    X, y = problem("regression", 60)
    model = GDRegressor(**parameters)
    before = vars(model).copy()
    with pytest.raises(ValueError, match=f"{next(iter(parameters))}=.* is not available for training on partitions"):
        partitions.fit(model, [(X, y)])
    assert vars(model) == before


def test_losses_that_are_refused(wide):
    X, y, score = wide
    with pytest.raises(ValueError, match="kinks"):
        partitions.fit(GDClassifier(loss="hinge"), split(X, y))
    with pytest.raises(ValueError, match="kinks"):
        partitions.fit(GDRegressor(loss="absolute_error"), split(X, score))
    with pytest.raises(ValueError, match="convex"):
        partitions.fit(GDClassifier(loss="perceptron"), split(X, y))
