"""``solver="sgd"`` on partitions: lanes of mini-batches, averaged; networks; what it has in common with ``fit``."""

import pickle
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skgd import GDClassifier, GDRegressor, partitions
from skgd.engines import Iterate
from skgd.lanes import Lane
from skgd.optimizers import FTRL, OPTIMIZERS, Adam, ScheduleFree
from skgd.partition_sums import of_sample

N_ROWS = 2000


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 5)) * [1.0, 10.0, 0.1, 1.0, 5.0] + 3.0
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    score = Z @ [1.0, -1.0, 0.5, 0.0, 2.0]
    noise = rng.normal(size=N_ROWS)
    return {
        "regression": (X, score + noise),
        "counts": (X, rng.poisson(np.exp(0.3 * score)).astype(float)),
        "targets": (X, np.column_stack([score + noise, 100.0 * noise - score])),
        "binary": (X, np.where(score + noise > 0.5, "yes", "no")),
        "classes": (X, np.digitize(score + noise, [-1.0, 1.0])),
        "labels": (X, np.column_stack([score + noise > 0.0, noise > 1.0]).astype(int)),
        "bump": (X, np.exp(-(Z[:, 0] ** 2)) + Z[:, 1] + 0.1 * noise),
    }


def parts_of(data, number=10):
    return list(zip(*(np.array_split(part, number) for part in data), strict=True))


fit = partial(partitions.fit, solver="sgd")


# ---------------------------------------------------------------------------------------------------------------------
# The model
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (GDRegressor(), "regression"),
        (GDRegressor(loss="absolute_error"), "regression"),
        (GDRegressor(loss="huber", alpha=1e-4), "regression"),
        (GDRegressor(loss="poisson", optimizer="adam"), "counts"),
        (GDRegressor(), "targets"),
        (GDClassifier(), "binary"),
        (GDClassifier(loss="hinge", alpha=1e-3), "binary"),
        (GDClassifier(loss="perceptron"), "binary"),
        (GDClassifier(optimizer="adam"), "classes"),
        (GDClassifier(class_weight="balanced"), "classes"),
        (GDClassifier(), "labels"),
        (GDRegressor(precondition=False, optimizer="adam"), "regression"),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_about_as_good_as_fit(tables, estimator, kind):
    X, y = tables[kind]
    expected = clone(estimator).set_params(random_state=0).fit(X, y).score(X, y)
    model = fit(clone(estimator).set_params(random_state=0), parts_of((X, y)))
    assert model.score(X, y) >= expected - 0.02
    assert len(model.history_["objective"]) == model.n_iter_


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer(tables, name):
    X, y = tables["binary"]
    model = fit(GDClassifier(optimizer=name, tol=None, max_iter=4, random_state=0), parts_of((X, y)))
    start = fit(GDClassifier(optimizer=name, tol=None, max_iter=1, random_state=0), parts_of((X, y)))
    assert model.score(X, y) > 0.7
    assert model.history_["loss"][-1] < model.history_["loss"][0]
    assert model.t_ == 4 * start.t_
    assert type(model.optimizer_) is OPTIMIZERS[name]


def test_one_lane_in_order_is_fit(tables):
    """With one partition and one lane, a pass is an epoch of ``fit``: the same steps, to the same bits."""
    X, y = tables["regression"]
    steps = {"tol": None, "batch_size": 50, "optimizer": "adam", "alpha": 1e-4, "shuffle": False, "max_iter": 3}
    model = fit(GDRegressor(**steps), [(X, y)], n_lanes=1)
    expected = GDRegressor(**steps).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.history_["objective"], expected.history_["objective"], rtol=1e-9)
    assert model.t_ == expected.t_ == 120
    cut = fit(GDRegressor(**steps), parts_of((X, y)), n_lanes=1)
    np.testing.assert_allclose(cut.coef_, expected.coef_, rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_networks(tables, activation):
    X, y = tables["bump"]
    model = GDRegressor(hidden_layer_sizes=(16,), activation=activation, random_state=0)
    linear = partitions.fit(GDRegressor(), parts_of((X, y))).score(X, y)
    fit(model, parts_of((X, y)))
    assert [coef.shape for coef in model.coefs_] == [(5, 16), (16, 1)]
    assert model.score(X, y) > linear + 0.01
    assert model.stop_reason_ == "validation"
    assert "gradient_norm_layer_2" in model.history_
    assert np.isfinite(model.history_["validation_loss"]).all()


def test_a_network_that_is_no_better_is_the_linear_model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=400)
    model = fit(GDRegressor(hidden_layer_sizes=(8,), random_state=0), parts_of((X, y)))
    assert model.best_iter_ <= 5
    linear = GDRegressor().fit(X, y)
    assert np.corrcoef(model.predict(X), linear.predict(X))[0, 1] > 0.99


def test_sparse_networks_and_text():
    rng = np.random.default_rng(0)
    X = sp.csr_array(rng.random((1500, 600)) * (rng.random((1500, 600)) < 0.1))
    y = (X @ rng.normal(size=600) > 0.0).astype(int)
    parts = [(X[start : start + 100], y[start : start + 100]) for start in range(0, 1200, 100)]
    for parameters in ({}, {"hidden_layer_sizes": (8,)}):
        model = GDClassifier(random_state=0, **parameters)
        expected = clone(model).fit(X[:1200], y[:1200]).score(X[1200:], y[1200:])
        assert fit(model, parts).score(X[1200:], y[1200:]) >= expected - 0.05


def test_correlated_features_are_combined(tables):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(N_ROWS, 3))
    X = Z @ rng.normal(size=(3, 8)) + 0.01 * rng.normal(size=(N_ROWS, 8))
    y = X @ rng.normal(size=8) + 20.0 * (X[:, 0] - X[:, 1:] @ np.linalg.lstsq(X[:, 1:], X[:, 0], rcond=None)[0])
    y = y + 0.1 * rng.normal(size=N_ROWS)
    model = fit(GDRegressor(optimizer="adam", random_state=0), parts_of((X, y)))
    assert model.coef_.shape == (8,) or model.coef_.shape == (1, 8)
    assert model.score(X, y) >= GDRegressor().fit(X, y).score(X, y) - 0.01


@pytest.mark.parametrize("n_rows", [40_000, 20_000])  # a sample of 2 ** 14 or more does not have the outlier, or has
@pytest.mark.parametrize("loss", ["log_loss", "hinge"])
def test_an_outlier_has_no_say_in_combinations(n_rows, loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 1)) + 0.03 * rng.normal(size=(n_rows, 3))
    y = (X @ [1.0, -2.0, 1.5] + 0.15 * rng.logistic(size=n_rows) > 0.0).astype(int)
    outlying = X.copy()
    outlying[n_rows - 10] *= -1e4
    model = GDClassifier(loss=loss, random_state=0)
    models = [fit(clone(model), parts_of((each, y)), n_lanes=1) for each in (X, outlying)]
    np.testing.assert_allclose(*(model.coef_ for model in models), rtol=0.05 if n_rows == 40_000 else 0.1)
    np.testing.assert_allclose(*(model.score(X, y) for model in models), atol=0.003)


def test_outliers_among_the_samples_by_which_training_ends_have_no_say():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 100))
    y = (X @ rng.normal(size=100) + 5.0 * rng.logistic(size=4000) > 0.0).astype(int)
    outlying = X.copy()
    outlying[of_sample(2.3e-4).mask(0, 4000)] *= -1e3  # two of those that are held out, which have the smallest numbers
    models = [fit(GDClassifier(random_state=0), [(each, y)], n_lanes=1) for each in (X, outlying)]
    assert models[0].best_iter_ == models[1].best_iter_
    np.testing.assert_allclose(*(model.history_["validation_loss"] for model in models), rtol=0.1)


# ---------------------------------------------------------------------------------------------------------------------
# Averages
# ---------------------------------------------------------------------------------------------------------------------


def lane(optimizer, theta, slots, weight, t=3):
    iterate = Iterate(np.array(theta), tuple(map(np.array, slots)), np.array(theta) + 1.0, t, t)
    return Lane(optimizer, iterate, "vectorized", weight, np.ones(5), 0.1)


def test_lanes_are_averaged_by_the_weights_of_their_samples():
    lanes = [
        lane(Adam(), [1.0, 0.0], ([1.0, 2.0], [4.0, 4.0]), 1.0),
        lane(Adam(), [5.0, 4.0], ([5.0, 2.0], [8.0, 4.0]), 3.0, 4),
    ]
    merged = lanes[0].merged(lanes[1])
    np.testing.assert_allclose(merged.iterate.theta, [4.0, 3.0])
    np.testing.assert_allclose(merged.iterate.average, [5.0, 4.0])
    np.testing.assert_allclose(merged.iterate.slots, [[4.0, 2.0], [7.0, 4.0]])
    assert (merged.weight, merged.iterate.t) == (4.0, 4)


def test_slots_that_hold_parameters_are_moved_with_them():
    rng = np.random.default_rng(0)
    for optimizer in (FTRL(learning_rate=0.1), ScheduleFree(learning_rate=0.1)):
        iterates = []
        for _ in range(2):
            theta, slots = np.zeros(3), tuple(np.full(3, value) for value in optimizer.initial())
            for t in range(1, 4):
                theta, _, slots = optimizer.rule(theta, rng.normal(size=3), 0.1, t, slots, optimizer.hyper())
            iterates.append((theta, slots))
        merged = lane(optimizer, *iterates[0], 1.0).merged(lane(optimizer, *iterates[1], 1.0)).iterate
        # A step without a gradient stays where the average is.
        point, _, _ = optimizer.rule(merged.theta, np.zeros(3), 1e-12, 4, merged.slots, optimizer.hyper())
        if isinstance(optimizer, FTRL):
            point, _, _ = optimizer.rule(merged.theta, np.zeros(3), 0.1, 4, merged.slots, optimizer.hyper())
            np.testing.assert_allclose(point, merged.theta, rtol=0.3)
        shown = [optimizer.readout(theta, slots, optimizer.hyper()) for theta, slots in iterates]
        readout = optimizer.readout(merged.theta, merged.slots, optimizer.hyper())
        np.testing.assert_allclose(readout, np.mean(shown, axis=0))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weight_zero_is_no_sample_and_lanes_weigh_what_their_samples_do(tables):
    X, y = tables["regression"]
    steps = {"tol": None, "max_iter": 2, "optimizer": "adam", "shuffle": False, "batch_size": 100, "random_state": 0}
    weight = np.ones(N_ROWS)
    parts = [(X[:1000], y[:1000], weight[:1000]), (X[1000:], y[1000:], weight[1000:])]
    expected = fit(GDRegressor(**steps), parts, n_lanes=2)
    zeros = [*parts, (X[:50], 1e6 + y[:50], np.zeros(50)), (X[:0], y[:0])]
    model = fit(GDRegressor(**steps), [zeros[0], zeros[1]], n_lanes=2)
    assert np.array_equal(model.coef_, expected.coef_)
    model = fit(GDRegressor(**steps), zeros, n_lanes=2)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-12)
    tenfold = [(X_part, y_part, 10.0 * w) for X_part, y_part, w in parts]
    np.testing.assert_allclose(fit(GDRegressor(**steps), tenfold, n_lanes=2).coef_, expected.coef_, rtol=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Bits, validation, callbacks, resuming
# ---------------------------------------------------------------------------------------------------------------------


def test_bits_depend_on_seed_and_lanes_only(tables):
    X, y = tables["binary"]
    models = [
        fit(GDClassifier(random_state=seed, max_iter=3, tol=None), parts_of((X, y)), n_lanes=n_lanes)
        for seed, n_lanes in ((0, 4), (0, 4), (1, 4), (0, 2))
    ]
    assert np.array_equal(models[0].coef_, models[1].coef_)
    for other in models[2:]:
        assert not np.array_equal(models[0].coef_, other.coef_)
    in_columns = [(np.asfortranarray(part), labels) for part, labels in parts_of((X, y))]
    model = fit(GDClassifier(random_state=0, max_iter=3, tol=None), in_columns)
    assert np.array_equal(models[0].coef_, model.coef_)
    single = fit(GDClassifier(random_state=0), parts_of((X.astype(np.float32), y)))
    assert single.coef_.dtype == np.float32


def test_validation(tables):
    X, y = tables["classes"]
    train, test = slice(1500), slice(1500, None)
    model = GDClassifier(random_state=0)
    fit(model, parts_of((X[train], y[train])), X_val=X[test], y_val=y[test])
    assert model.stop_reason_ == "validation"
    assert model.best_iter_ == np.argmin(model.history_["validation_loss"]) + 1
    assert model.best_score_ == model.score(X[test], y[test])
    for parameters in ({}, {"hidden_layer_sizes": (8,)}):
        model = GDClassifier(random_state=0, early_stopping=True, validation_fraction=0.2, **parameters)
        fit(model, parts_of((X, y)))
        assert model.best_score_ == pytest.approx(model.score(X, y), abs=0.1)
        assert np.isfinite(model.history_["validation_loss"]).all()


def test_fitted_like_any_other(tables, capsys):
    X, y = tables["binary"]
    model = fit(GDClassifier(random_state=0, verbose=1), parts_of((X, y)))
    assert "ended: no progress" in capsys.readouterr().out
    assert model.converged_
    copy = pickle.loads(pickle.dumps(model))
    for other in (copy, model):
        other.partial_fit(X[:50], y[:50])
    assert np.array_equal(copy.coef_, model.coef_)
    model.set_params(warm_start=True, verbose=0)
    before, t = len(model.history_["objective"]), model.t_
    fit(model, parts_of((X, y)))
    assert len(model.history_["objective"]) == before + model.n_iter_
    assert model.t_ > t
    with pytest.warns(ConvergenceWarning, match="max_iter=1 ") as caught:
        fit(GDClassifier(max_iter=1), parts_of((X, y)))
    assert caught[0].filename == __file__


def test_callbacks(tables, tmp_path):
    pytest.importorskip("sklearn.callback")
    from skgd.callbacks import Checkpoint, EarlyStopping

    X, y = tables["binary"]
    model = GDClassifier(tol=None, max_iter=60, random_state=0)
    model.set_callbacks(EarlyStopping(X[:100], y[:100], patience=2), Checkpoint(tmp_path / "model.pkl"))
    fit(model, parts_of((X[100:], y[100:])))
    assert model.stop_reason_ == "callback"
    assert model.n_iter_ < 60
    loaded = Checkpoint.load(tmp_path / "model.pkl")
    fit(loaded.set_params(max_iter=2), parts_of((X[100:], y[100:])))
    assert loaded.t_ > 0


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------


def test_errors(tables):
    X, y = tables["regression"]
    parts = parts_of((X, y))
    for model, arguments, message in (
        (GDRegressor(), {"solver": "adam"}, "solver must be 'auto' or 'sgd', got 'adam'"),
        (GDRegressor(), {"n_lanes": 0}, "n_lanes must be at least 1, got 0"),
        (GDRegressor(batch_size=None), {}, "batch_size=None.* Use a number, or solver='auto'"),
        (
            GDRegressor(optimizer="sgd", learning_rate=1e6, precondition=False, tol=None),
            {},
            r"diverged in pass 1.*Decrease learning_rate",
        ),
    ):
        before = vars(model).copy()
        with pytest.raises(ValueError, match=message):
            fit(model, parts, **arguments)
        assert vars(model) == before
    with pytest.raises(TypeError, match=r"n_lanes must be an integer, got 2\.5"):
        fit(GDRegressor(), parts, n_lanes=2.5)
    with pytest.raises(ValueError, match="There is no sample to train on"):
        fit(GDRegressor(), [])
    with pytest.raises(ValueError, match="solver='sgd', or reset it"):
        partitions.fit(GDRegressor(hidden_layer_sizes=(3,)), parts)


@pytest.mark.parametrize("n_rows", [2, 3, 19, 25])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_few_samples(tables, n_rows):
    X, y = tables["regression"]
    for parameters in ({}, {"hidden_layer_sizes": (2,)}):
        model = GDRegressor(max_iter=20, random_state=0, **parameters)
        fit(model, [(X[:1], y[:1]), (X[1:n_rows], y[1:n_rows])])
        assert np.isfinite(model.predict(X)).all()


def test_ctrl_c_while_the_linear_model_is_trained_keeps_it():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    y = (X @ [1.0, 2.0, 3.0] > 0.0).astype(int)
    n_reads = 0

    def read():
        nonlocal n_reads
        n_reads += 1
        if n_reads == 4:  # the survey, and some passes
            raise KeyboardInterrupt
        return X, y

    network = GDClassifier(hidden_layer_sizes=(4,), random_state=0)
    with pytest.warns(UserWarning, match="interrupted in epoch 0"):
        partitions.fit(network, [read], solver="sgd")
    assert (network.stop_reason_, network.n_iter_) == ("interrupted", 0)
    assert network.score(X, y) > 0.9
