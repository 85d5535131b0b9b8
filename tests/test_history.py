"""`history_` against values computed by hand from the parameters of each epoch; `verbose` prints the same numbers."""

import time

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mean_poisson_deviance, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import compute_sample_weight

from skgd import GDClassifier, GDRegressor
from skgd.optimizers import SGD

N, P, EPOCHS = 60, 3, 6
rng = np.random.default_rng(0)
X, X_VAL = rng.normal(size=(N, P)), rng.normal(size=(25, P))
SLOPES = np.array([1.0, -2.0, 0.5])
Y, Y_VAL = (x @ SLOPES + 3.0 + 1.5 * rng.normal(size=len(x)) for x in (X, X_VAL))
LABELS, LABELS_VAL = (np.array(["no", "yes"])[(y > 3.0).astype(int)] for y in (Y, Y_VAL))
WEIGHT, WEIGHT_VAL = rng.uniform(0.5, 2.0, N), rng.uniform(0.5, 2.0, 25)
KEYS = [
    "objective",
    "loss",
    "gradient_norm",
    "learning_rate",
    "validation_loss",
    "validation_score",
    "suboptimality",
    "seconds",
]

# The textbook's update, so that the book's formulas can be written down: plain coordinates, a constant rate.
TEXTBOOK = {
    "optimizer": SGD(0.1),
    "precondition": False,
    "average": False,
    "max_iter": EPOCHS,
    "tol": None,
    "random_state": 0,
}


def epochs(model, *data, **more):
    """Return the models after 0 (all parameters zero), 1, 2, ... epochs, each trained from the beginning."""
    fitted = [clone(model).set_params(max_iter=k).fit(*data, **more) for k in range(1, EPOCHS + 1)]
    untrained = clone(model).set_params(max_iter=1).fit(*data, **more)
    untrained.coef_, untrained.intercept_ = np.zeros_like(untrained.coef_), np.zeros_like(untrained.intercept_)
    return [untrained, *fitted]


# -- the parts of an entry --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_regression_by_hand(alpha, weight):
    """With all rows in a batch, an entry is that of the parameters before the epoch's only step."""
    model = GDRegressor(**TEXTBOOK, alpha=alpha, l1_ratio=0.25, batch_size=None)
    history = clone(model).fit(X, Y, weight).history_
    shares = np.full(N, 1 / N) if weight is None else weight / weight.sum()
    for k, before in enumerate(epochs(model, X, Y, weight)[:-1]):
        residual = X @ before.coef_ + before.intercept_ - Y
        loss = 0.5 * shares @ residual**2
        penalty = alpha * (0.75 / 2 * (before.coef_**2).sum() + 0.25 * np.abs(before.coef_).sum())
        gradient = np.append(X.T @ (shares * residual), shares @ residual)
        assert_allclose(history["loss"][k], loss, rtol=1e-12)
        assert_allclose(history["objective"][k], loss + penalty, rtol=1e-12)
        assert_allclose(history["gradient_norm"][k], np.sqrt((gradient**2).sum()), rtol=1e-10)


def test_classification_by_hand():
    model = GDClassifier(**TEXTBOOK, alpha=0.1, batch_size=None)
    history = clone(model).fit(X, LABELS).history_
    for k, before in enumerate(epochs(model, X, LABELS)[:-1]):
        probability = 1 / (1 + np.exp(-(X @ before.coef_[0] + before.intercept_[0])))
        yes = LABELS == "yes"
        loss = -np.mean(np.where(yes, np.log(probability), np.log(1 - probability)))
        gradient = np.append(X.T @ (probability - yes), (probability - yes).sum()) / N
        assert_allclose(history["loss"][k], loss, rtol=1e-12)
        assert_allclose(history["objective"][k], loss + 0.05 * (before.coef_**2).sum(), rtol=1e-12)
        assert_allclose(history["gradient_norm"][k], np.linalg.norm(gradient), rtol=1e-10)


def test_mini_batches_by_hand():
    """The loss is the mean over the rows, each before its batch's step; so is the gradient's squared norm."""
    size, rate = 25, 0.1
    model = GDRegressor(**TEXTBOOK, alpha=0.0, batch_size=size, shuffle=False).fit(X, Y)
    w, b = np.zeros(P), 0.0
    for k in range(EPOCHS):
        losses, squares = [], []
        for start in range(0, N, size):
            x, y = X[start : start + size], Y[start : start + size]
            residual = x @ w + b - y
            gradient_w, gradient_b = x.T @ residual / len(y), residual.mean()
            losses.extend(0.5 * residual**2)
            squares.extend([gradient_w @ gradient_w + gradient_b**2] * len(y))
            w, b = w - rate * gradient_w, b - rate * gradient_b
        assert_allclose(model.history_["loss"][k], np.mean(losses), rtol=1e-12)
        assert_allclose(model.history_["gradient_norm"][k], np.sqrt(np.mean(squares)), rtol=1e-10)
    assert_allclose(model.coef_, w, rtol=1e-12)


def test_learning_rate_is_that_of_the_last_step():
    def falling(step):
        return 0.1 / (1.0 + step)

    model = GDRegressor(**TEXTBOOK | {"optimizer": "sgd"}, learning_rate=falling, batch_size=20).fit(X, Y)
    assert_allclose(model.history_["learning_rate"], [0.1 / (1.0 + (3 * k + 2)) for k in range(EPOCHS)], rtol=1e-14)


def test_seconds_are_those_of_the_epochs():
    started = time.perf_counter()
    model = GDRegressor(**TEXTBOOK).fit(X, Y)
    assert 0.0 < sum(model.history_["seconds"]) < time.perf_counter() - started
    assert min(model.history_["seconds"]) > 0.0


# -- the validation set -----------------------------------------------------------------------------------------------


def assert_validation(model, y, validation, loss, weight_of_loss):
    """Compare each epoch's validation with that of a model that was trained so far, without a validation set."""
    X_val, y_val, weight = validation
    trained = clone(model).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    for k, after in enumerate(epochs(model, X, y)[1:]):
        expected = np.average(loss(after, X_val, y_val), weights=weight_of_loss)
        assert_allclose(trained.history_["validation_loss"][k], expected, rtol=1e-10)
        assert_allclose(trained.history_["validation_score"][k], after.score(X_val, y_val, weight), rtol=1e-10)
    assert len(set(trained.history_["validation_score"])) > 1
    return trained


def minus_log_probability(model, X_val, y_val):
    return -np.log(model.predict_proba(X_val)[np.arange(len(y_val)), np.searchsorted(model.classes_, y_val)])


@pytest.mark.parametrize("weight", [None, WEIGHT_VAL])
@pytest.mark.parametrize("params", [{}, {"optimizer": SGD(0.01), "batch_size": 7}], ids=["default", "sgd"])
def test_validation_of_a_regressor(params, weight):
    model = GDRegressor(max_iter=EPOCHS, tol=None, random_state=0, **params)
    assert_validation(
        model, Y, (X_VAL, Y_VAL, weight), lambda m, x, y: 0.5 * (m.predict(x) - y) ** 2, weight_of_loss=weight
    )


@pytest.mark.parametrize("weight", [None, WEIGHT_VAL])
def test_validation_of_several_targets(weight):
    model = GDRegressor(optimizer=SGD(0.01), batch_size=7, max_iter=EPOCHS, tol=None, random_state=0)
    y, y_val = np.column_stack([Y, -3 * Y]), np.column_stack([Y_VAL, -3 * Y_VAL])
    trained = assert_validation(
        model, y, (X_VAL, y_val, weight), lambda m, x, t: 0.5 * ((m.predict(x) - t) ** 2).sum(axis=1), weight
    )
    best = np.argmin(trained.history_["validation_loss"])
    assert_allclose(
        trained.history_["validation_score"][best], r2_score(y_val, trained.predict(X_VAL), sample_weight=weight)
    )


def test_validation_with_a_log_link():
    y, y_val = np.exp(Y / 4.0), np.exp(Y_VAL / 4.0)
    model = GDRegressor(loss="poisson", batch_size=7, max_iter=EPOCHS, tol=None, random_state=0)
    trained = clone(model).fit(X, y, X_val=X_VAL, y_val=y_val)
    for k, after in enumerate(epochs(model, X, y)[1:]):
        assert_allclose(
            trained.history_["validation_loss"][k], 0.5 * mean_poisson_deviance(y_val, after.predict(X_VAL)), rtol=1e-10
        )
        assert_allclose(trained.history_["validation_score"][k], after.score(X_VAL, y_val), rtol=1e-10)


@pytest.mark.parametrize("weight", [None, WEIGHT_VAL])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_validation_of_a_classifier(n_classes, weight):
    cuts = np.quantile(Y, np.linspace(0, 1, n_classes + 1)[1:-1])
    names = np.array(["a", "b", "c", "d"])
    y, y_val = names[np.digitize(Y, cuts)], names[np.digitize(Y_VAL, cuts)]
    model = GDClassifier(batch_size=7, max_iter=EPOCHS, tol=None, random_state=0)
    trained = assert_validation(model, y, (X_VAL, y_val, weight), minus_log_probability, weight)
    best = np.argmin(trained.history_["validation_loss"])
    expected = log_loss(y_val, trained.predict_proba(X_VAL), sample_weight=weight)
    assert_allclose(trained.history_["validation_loss"][best], expected)


def test_validation_of_a_multilabel_classifier():
    y, y_val = (np.column_stack([t > 3.0, t < 2.0]).astype(int) for t in (Y, Y_VAL))

    def loss(model, x, t):
        return -np.log(np.where(t == 1, model.predict_proba(x), 1 - model.predict_proba(x))).sum(axis=1)

    model = GDClassifier(batch_size=7, max_iter=EPOCHS, tol=None, random_state=0)
    assert_validation(model, y, (X_VAL, y_val, WEIGHT_VAL), loss, WEIGHT_VAL)


def test_class_weights_count_in_the_validation_loss_but_not_in_the_score():
    model = GDClassifier(batch_size=7, max_iter=EPOCHS, tol=None, class_weight={"no": 1.0, "yes": 5.0}, random_state=0)
    by_class = np.where(LABELS_VAL == "yes", 5.0, 1.0)
    assert_validation(model, LABELS, (X_VAL, LABELS_VAL, WEIGHT_VAL), minus_log_probability, by_class * WEIGHT_VAL)


def test_validation_with_rows_that_were_held_out():
    model = GDClassifier(batch_size=7, max_iter=EPOCHS, tol=None, early_stopping=True, random_state=0).fit(X, LABELS)
    random_state = np.random.RandomState(0)
    train, held_out = train_test_split(np.arange(N), test_size=0.1, stratify=LABELS, random_state=random_state)
    by_hand = GDClassifier(batch_size=7, max_iter=EPOCHS, tol=None, random_state=random_state)
    by_hand.fit(X[train], LABELS[train], X_val=X[held_out], y_val=LABELS[held_out])
    for key in ("loss", "validation_loss", "validation_score"):
        assert_array_equal(model.history_[key], by_hand.history_[key])


@pytest.mark.parametrize(("y_val", "expected"), [([3.0], np.nan), ([3.0, 3.0], 0.0)], ids=["one row", "constant"])
def test_score_of_degenerate_validation_sets(y_val, expected):
    """As of r2_score: one row has no variance to explain, and constant targets are explained only if all are hit."""
    model = GDRegressor(max_iter=2, tol=None).fit(X, Y, X_val=X_VAL[: len(y_val)], y_val=y_val)
    assert_array_equal(model.history_["validation_score"], [expected] * 2)


# -- the form ---------------------------------------------------------------------------------------------------------


def test_is_a_table_with_a_row_an_epoch():
    model = GDRegressor(**TEXTBOOK).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    table = pd.DataFrame(model.history_)
    assert list(table) == KEYS
    assert len(table) == model.n_iter_ == EPOCHS
    assert all(type(value) is float for values in model.history_.values() for value in values)
    assert np.isfinite(table.drop(columns="suboptimality")).to_numpy().all()
    assert table["suboptimality"].isna().all()  # tol=None: nothing was checked
    without = pd.DataFrame(GDRegressor(**TEXTBOOK).fit(X, Y).history_)
    absent = ["validation_loss", "validation_score", "suboptimality"]
    assert list(without.columns[without.isna().all()]) == absent
    assert without.drop(columns=absent).notna().to_numpy().all()


def test_goes_on_through_partial_fit_and_warm_start():
    model = GDClassifier(max_iter=3, tol=None, random_state=0, warm_start=True).fit(X, LABELS)
    lengths = [3]
    for call in (
        lambda: model.partial_fit(X[:20], LABELS[:20]),
        lambda: model.fit(X, LABELS, X_val=X_VAL, y_val=LABELS_VAL),
        lambda: model.fit(X, LABELS),
        lambda: model.partial_fit(X[20:], LABELS[20:]),
    ):
        before = pd.DataFrame(model.history_)
        call()
        after = pd.DataFrame(model.history_)
        pd.testing.assert_frame_equal(after[: len(before)], before)
        assert len(after) == len(before) + model.n_iter_
        lengths.append(len(after))
    assert lengths == [3, 4, 7, 10, 11]
    assert list(np.flatnonzero(np.isfinite(after["validation_score"]))) == [4, 5, 6]
    assert len(model.set_params(warm_start=False).fit(X, LABELS).history_["loss"]) == 3


def test_an_earlier_history_is_not_changed_by_warm_start():
    model = GDRegressor(max_iter=2, tol=None, warm_start=True).fit(X, Y)
    kept, copied = model.history_, pd.DataFrame(model.history_)
    model.fit(X, Y)
    pd.testing.assert_frame_equal(pd.DataFrame(kept), copied)


# -- printing ---------------------------------------------------------------------------------------------------------


def read(printed):
    """Return the table that was printed, after a check that its columns are aligned at their right ends."""
    header, *lines = printed.splitlines()
    names = header.split()
    ends = [header.index(name) + len(name) for name in names]
    for line in lines:
        assert len(line) == len(header)
        assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for end in ends)
    return pd.DataFrame([list(map(float, line.split())) for line in lines], columns=names)


@pytest.mark.parametrize("scale", [1.0, 1e-120, 1e120])
@pytest.mark.parametrize("validation", [{}, {"X_val": X_VAL, "y_val": Y_VAL}], ids=["", "validation"])
def test_verbose_prints_it_as_aligned_lines(validation, scale, capsys):
    validation = {name: value * scale if name == "y_val" else value for name, value in validation.items()}
    model = GDRegressor(max_iter=12, tol=None, random_state=0, verbose=1).fit(X, Y * scale, **validation)
    lines, ending, _ = capsys.readouterr().out.rsplit("\n", 2)
    assert ending == "ended: max_iter"
    table = read(lines)
    assert list(table["epoch"]) == list(range(1, 13))
    shown = [key for key in KEYS if key != "suboptimality" and (validation or not key.startswith("validation"))]
    assert list(table)[1:] == shown
    assert_allclose(table.drop(columns="epoch"), pd.DataFrame(model.history_)[list(table)[1:]], rtol=1e-3)


def test_verbose_prints_the_header_once_in_a_stream(capsys):
    model = GDClassifier(verbose=1)
    for start in range(0, N, 20):
        model.partial_fit(X[start : start + 20], LABELS[start : start + 20], classes=["no", "yes"])
    table = read(capsys.readouterr().out)
    assert list(table["epoch"]) == [1, 2, 3]
    assert_allclose(table["loss"], model.history_["loss"], rtol=1e-3)


def test_nothing_is_printed_without_verbose(capsys):
    GDRegressor(max_iter=2, tol=None).fit(X, Y).partial_fit(X, Y)
    assert capsys.readouterr().out == ""


# -- class weights in a stream ----------------------------------------------------------------------------------------


@pytest.fixture
def rare():
    """Rows of which about a tenth are of the rare class."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(400, P))
    return x, (x @ SLOPES + generator.normal(size=400) > 3.0).astype(int)


def test_balanced_weights_of_a_stream_are_those_of_the_counts_so_far(rare):
    """A batch's rows have the weights that `compute_sample_weight` gives them among all rows seen until then."""
    x, y = rare
    size = 50
    balanced, by_hand = GDClassifier(class_weight="balanced", batch_size=size), GDClassifier(batch_size=size)
    for start in range(0, len(y), size):
        seen, batch = slice(0, start + size), slice(start, start + size)
        weight = compute_sample_weight("balanced", y[seen])[batch]
        balanced.partial_fit(x[batch], y[batch], classes=[0, 1])
        by_hand.partial_fit(x[batch], y[batch], classes=[0, 1], sample_weight=weight)
    assert_allclose(balanced.coef_, by_hand.coef_, rtol=1e-10)
    assert_allclose(balanced.intercept_, by_hand.intercept_, rtol=1e-10)
    assert not np.allclose(balanced.coef_, GDClassifier(batch_size=size).partial_fit(x, y, classes=[0, 1]).coef_)


def test_balanced_weights_of_one_call_are_those_of_fit(rare):
    """Where all rows are one batch, the counts so far are the counts of all."""
    x, y = rare
    model = GDClassifier(batch_size=None, max_iter=1, tol=None)
    streamed = clone(model).set_params(class_weight="balanced").partial_fit(x, y, classes=[0, 1])
    fitted = clone(model).fit(x, y, sample_weight=compute_sample_weight("balanced", y))
    assert_allclose(streamed.coef_, fitted.coef_, rtol=1e-10)
    assert_allclose(streamed.intercept_, fitted.intercept_, rtol=1e-10)


def test_balanced_stream_reaches_the_minimum_with_balanced_weights(rare):
    """Over many passes, the counts' shares are those of the data, and so are the weights."""
    x, y = rare
    model = GDClassifier(class_weight="balanced", alpha=0.1, batch_size=None, optimizer="sgd", average=False)
    for _ in range(300):
        model.partial_fit(x, y, classes=[0, 1])
    exact = LogisticRegression(C=1 / (0.1 * len(y)), class_weight="balanced", tol=1e-10, max_iter=1000).fit(x, y)
    assert_allclose(model.coef_, exact.coef_, rtol=1e-4)
    assert_allclose(model.intercept_, exact.intercept_, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e-30), (np.float64, 1e-200)])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_penalty_beyond_the_largest_number_is_no_nan(method, dtype, size):
    """Its rate on a column so small is infinite in the optimizer's coordinates, and the coefficient zero."""
    X = (size * np.eye(12, 2)).astype(dtype)
    model = GDRegressor(alpha=1e-3, max_iter=3, tol=None)
    getattr(model, method)(X, np.arange(12.0))
    for name in ("objective", "loss", "gradient_norm"):
        assert np.isfinite(model.history_[name]).all()
    assert np.isfinite(model.coef_).all()


def test_the_kept_epoch_is_that_with_the_lowest_validation_loss():
    model = GDRegressor(**TEXTBOOK).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    best = int(np.argmin(model.history_["validation_loss"]))
    assert type(model.best_iter_) is int
    assert (model.best_iter_, model.best_score_) == (best + 1, model.history_["validation_score"][best])
    assert model.best_score_ == model.score(X_VAL, Y_VAL)
    without = GDRegressor(**TEXTBOOK).fit(X, Y)
    assert without.best_iter_ == without.n_iter_
    assert np.isnan(without.best_score_)
    assert without.partial_fit(X, Y).best_iter_ == 1
