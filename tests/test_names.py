"""Names that people bring from other tools: the error says what is meant, and why."""

import pickle
import re
import warnings
from inspect import signature

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skgd import GDClassifier, GDRegressor, names
from skgd.activations import ACTIVATIONS
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, Huber
from skgd.names import advice_on_name, advice_on_parameter
from skgd.optimizers import OPTIMIZERS, SGD, Adam
from skgd.schedules import SCHEDULES, Exponential

ADVICE_ON_DECAY = "Use a schedule, such as learning_rate=InverseScaling(power=1, decay_steps=...)."
X = np.arange(24.0).reshape(12, 2)
LABELS = np.arange(12) % 3
REGISTRIES = {
    "Loss": CLASSIFIER_LOSSES | REGRESSOR_LOSSES,
    "Optimizer": OPTIMIZERS,
    "Schedule": SCHEDULES,
    "Activation": ACTIVATIONS,
}
both_estimators = pytest.mark.parametrize("estimator", [GDClassifier, GDRegressor])


def message_of(call):
    with pytest.raises((TypeError, ValueError)) as information:
        call()
    return str(information.value)


# -- the tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_tables_lead_to_names_that_are_known(kind):
    known = {*REGISTRIES[kind], *({"auto"} if kind in ("Optimizer", "Schedule") else ())}
    for name, (right, _) in names._VALUES[kind].items():
        assert right in known
        assert name not in REGISTRIES[kind]
        assert name == names._letters(name)  # or it is never found


def test_the_table_of_parameters_leads_to_parameters():
    known = GDRegressor().get_params()
    for name, advice in names._ADVICE["Estimator"].items():
        assert name not in known
        first = re.match(r"\w+", advice)[0]
        assert first in known or first in ("nothing", "the", "that", "n_jobs")


def test_the_tables_of_parameters_of_strategies_lead_to_parameters():
    kinds = [kind for registry in REGISTRIES.values() for kind in registry.values()]
    parameters = [kind().get_params(deep=False) for kind in kinds]
    for right, _, others in names._PARAMETERS_OF_STRATEGIES:
        having = [each for each in parameters if right in each]
        assert having
        for name in others.split():
            assert any(name not in each for each in having)
    for name in names._ADVICE["Strategy"]:
        assert any(name not in each for each in parameters)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_name_is_found_by_its_class_and_by_other_spellings(kind):
    for name, strategy in REGISTRIES[kind].items():
        for written in (strategy.__name__, name.upper(), name.replace("_", "-"), name.replace("_", " ").title()):
            if written != name:
                assert f"Did you mean {name!r}?" in advice_on_name(written, REGISTRIES[kind], kind)


# -- names of strategies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "parameters", "meant"),
    [
        (GDRegressor, {"optimizer": "Adam"}, "'adam'"),
        (GDRegressor, {"optimizer": "RMSprop"}, "'rmsprop'"),
        (GDRegressor, {"optimizer": "sdg"}, "'sgd'"),
        (GDRegressor, {"optimizer": "Auto"}, "'auto'"),
        (GDRegressor, {"learning_rate": "AUTO"}, "'auto'"),
        (GDRegressor, {"optimizer": SGD("Auto")}, "'auto'"),
        (GDClassifier, {"optimizer": "lbfgs"}, "'auto' \\(Newton"),
        (GDClassifier, {"optimizer": "newton-cg"}, "'auto' \\(Newton"),
        (GDClassifier, {"optimizer": "momentum"}, r"'sgd' \(.*SGD\(momentum=0.9\)"),
        (GDRegressor, {"loss": "mse"}, "'squared_error'"),
        (GDRegressor, {"loss": "l2"}, "'squared_error'"),
        (GDRegressor, {"loss": "squared"}, "'squared_error'"),
        (GDRegressor, {"loss": "log_cosh"}, "'huber'"),
        (GDRegressor, {"optimizer": "sgd_momentum"}, r"'sgd' \(.*SGD\(momentum=0.9\)"),
        (GDRegressor, {"loss": "MAE"}, "'absolute_error'"),
        (GDClassifier, {"loss": "cross_entropy"}, r"'log_loss' \(the cross entropy"),
        (GDClassifier, {"loss": "log"}, "'log_loss'"),
        (GDClassifier, {"loss": "binary_crossentropy"}, "'log_loss'"),
        (GDClassifier, {"loss": "hing"}, "'hinge'"),
        (GDRegressor, {"learning_rate": "optimal"}, "'auto'"),
        (GDRegressor, {"learning_rate": "adaptive"}, "'reduce_on_plateau'"),
        (GDRegressor, {"learning_rate": "invscaling"}, "'inverse_scaling'"),
        (GDRegressor, {"optimizer": Adam("optimal")}, "'auto'"),
        (GDRegressor, {"hidden_layer_sizes": 2, "activation": "sigmoid"}, r"'logistic' \(the sigmoid\)"),
        (GDRegressor, {"hidden_layer_sizes": 2, "activation": "swish"}, "'silu'"),
    ],
    ids=str,
)
def test_a_wrong_name_gets_the_right_one(estimator, parameters, meant):
    message = message_of(lambda: estimator(**parameters).fit(X, LABELS))
    assert re.search(rf"is not known\. Did you mean {meant}.*\? Use one of", message)


@pytest.mark.parametrize("name", ["nonesuch", "", "?", "x" * 1000])
def test_what_resembles_nothing_gets_no_advice(name):
    message = message_of(lambda: GDRegressor(optimizer=name).fit(X, LABELS))
    assert "is not known. Use one of 'auto', 'adabelief', " in message


def test_constant_is_a_schedule():
    assert GDRegressor(learning_rate="constant", max_iter=3, tol=None).fit(X, LABELS).n_iter_ == 3


@pytest.mark.parametrize(
    ("estimator", "loss", "kind", "other"),
    [
        *[
            (GDClassifier, loss, "regression", "GDRegressor")
            for loss in (*REGRESSOR_LOSSES, "mse", "mae", "l2", "squared_eror", Huber())
        ],
        *[
            (GDRegressor, loss, "classification", "GDClassifier")
            for loss in (*CLASSIFIER_LOSSES, "cross_entropy", "softmax", "svm", "hing", CLASSIFIER_LOSSES["hinge"]())
        ],
    ],
    ids=str,
)
def test_a_loss_of_the_other_estimator(estimator, loss, kind, other):
    message = message_of(lambda: estimator(loss).fit(X, LABELS))
    assert f"is not for {estimator.__name__}: it is a {kind} loss; use {other}" in message
    assert all(repr(known) in message for known in estimator._known_losses)


@pytest.mark.parametrize(
    ("estimator", "loss"),
    [
        (GDRegressor, "squared_h"),
        (GDRegressor, "log_costs"),
        (GDClassifier, "absoluteness"),
        (GDClassifier, "quantify"),
    ],
)
def test_what_only_resembles_a_loss_of_the_other_estimator_is_not_taken_for_it(estimator, loss):
    assert "is not known." in message_of(lambda: estimator(loss).fit(X, LABELS))


# -- names of parameters ----------------------------------------------------------------------------------------------


@both_estimators
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("penalty", "alpha and l1_ratio"),
        ("C", r"alpha, which is 1 / \(C \* n_samples\)"),
        ("eta0", "learning_rate"),
        ("lr", "learning_rate"),
        ("learning_rate_init", "learning_rate"),
        ("solver", "optimizer"),
        ("n_jobs", "GridSearchCV"),
        ("epochs", "max_iter"),
        ("momentum", r"optimizer=SGD\(momentum"),
        ("nesterovs_momentum", r"optimizer=SGD\(momentum"),
        ("power_t", "InverseScaling"),
        ("epsilon", r"Huber\(epsilon"),
        ("lr_scheduler", "learning_rate, which may be a schedule"),
        ("warmup_steps", r"Linear\(warmup_steps"),
        ("tolerance", "tol"),
        ("sample_weight", "of fit"),
        ("dropout", "alpha or early_stopping"),
    ],
)
def test_a_parameter_of_another_tool(estimator, name, advice):
    message = message_of(lambda: estimator(**{name: 1, "alpha": 1.0}))
    assert f"{estimator.__name__}.__init__() got an unexpected keyword argument {name!r}." in message
    assert re.search(rf"Use .*{advice}", message)
    model = estimator(alpha=0.5)
    message = message_of(lambda: model.set_params(**{name: 1}))
    assert re.search(rf"Invalid parameter '{name}'.*Use .*{advice}", message)
    search = GridSearchCV(model, {name: [1]}, cv=2)
    assert re.search(advice, message_of(lambda: search.fit(X, LABELS)))


@both_estimators
def test_a_parameter_that_is_misspelled(estimator):
    assert "Did you mean 'batch_size'?" in message_of(lambda: estimator(batchsize=1))
    assert "Did you mean 'hidden_layer_sizes'?" in message_of(lambda: estimator().set_params(hidden_layer_size=1))
    assert message_of(lambda: estimator(nonesuch=1)).endswith("'nonesuch'.")
    assert message_of(lambda: estimator().set_params(nonesuch=1)).endswith("].")
    with pytest.raises(TypeError, match="positional"):
        estimator("squared_error", "relu")


def test_parameters_inside_of_strategies_are_left_to_them():
    model = GDRegressor(optimizer=Adam())
    assert model.set_params(optimizer__beta1=0.5, alpha=0.1).optimizer.beta1 == 0.5
    message = message_of(lambda: model.set_params(optimizer__lr=1))
    assert "Invalid parameter 'lr' for estimator Adam(beta1=0.5)" in message
    assert message.endswith("Did you mean 'learning_rate'?")


def test_class_weight_is_the_classifier_s():
    assert "Use the argument sample_weight of fit." in message_of(lambda: GDRegressor(class_weight="balanced"))


@pytest.mark.parametrize("code", ["GDRegressor(lr=1, C=2)", "GDRegressor(C=2, lr=1)", "Adam(lr=1, eps=2)"])
def test_the_first_of_several_wrong_names_is_named(code):
    first = re.search(r"\((\w+)=", code)[1]
    assert f"unexpected keyword argument {first!r}." in message_of(lambda: eval(code))


@pytest.mark.parametrize(
    ("kind", "name", "advice"),
    [
        (Adam, "lr", "Did you mean 'learning_rate'?"),
        (Adam, "eps", "Did you mean 'epsilon'?"),
        (Adam, "betas", "Did you mean 'beta1' (and beta2, each a parameter of its own)?"),
        (OPTIMIZERS["adan"], "beta_3", "Did you mean 'beta3'?"),
        (OPTIMIZERS["ademamix"], "alpha_warmup", "Did you mean 'warmup_steps'?"),
        (Adam, "Beta1", "Did you mean 'beta1'?"),
        (Adam, "weight_decay", "Use alpha of the estimator, or AdamW(weight_decay=...)."),
        (Adam, "nesterov", "Use NAdam() or SGD(momentum=..., nesterov=True)."),
        (OPTIMIZERS["adagrad"], "momentum", "Use an optimizer that has it: SGD or RMSProp."),
        (OPTIMIZERS["adagrad"], "lr_decay", ADVICE_ON_DECAY),
        (SGD, "decay", ADVICE_ON_DECAY),
        (OPTIMIZERS["rmsprop"], "decay", "Did you mean 'rho'?"),
        (OPTIMIZERS["rmsprop"], "alpha", "Did you mean 'rho'?"),
        (SGD, "nesterovs_momentum", "Did you mean 'nesterov'?"),
        (SGD, "alpha", "Use that of the estimator."),
        (Huber, "delta", "Did you mean 'epsilon'?"),
        (REGRESSOR_LOSSES["quantile"], "tau", "Did you mean 'quantile'?"),
        (Exponential, "gamma", "Did you mean 'decay_rate' (in decay_steps steps)?"),
        (SCHEDULES["step"], "gamma", "Did you mean 'factor'?"),
        (SCHEDULES["cosine"], "T_max", "Did you mean 'decay_steps' (steps, not epochs)?"),
        (ACTIVATIONS["leaky_relu"], "negative_slope", "Did you mean 'slope'?"),
    ],
)
def test_a_parameter_of_a_strategy_in_another_tool(kind, name, advice):
    message = message_of(lambda: kind(**{name: 1}))
    assert message == f"{kind.__name__}.__init__() got an unexpected keyword argument {name!r}. {advice}"
    assert message_of(lambda: kind().set_params(**{name: 1})).endswith(f" {advice}")


@pytest.mark.parametrize("kind", [kind for registry in REGISTRIES.values() for kind in registry.values()])
def test_constructors_stay_what_they_are(kind):
    strategy = kind()
    assert signature(kind).parameters.keys() == strategy.get_params(deep=False).keys()
    assert repr(clone(strategy)) == repr(pickle.loads(pickle.dumps(strategy))) == repr(kind(**strategy.get_params()))
    if signature(kind).parameters:
        assert message_of(lambda: kind(nonesuch=1)).endswith("'nonesuch'.")
        assert "positional" in message_of(lambda: kind(*range(9)))


class Inheriting(Adam):
    pass


class Extending(Adam):
    def __init__(self, lr=0.1, **others):
        super().__init__(lr, **others)
        self.lr = lr


def test_classes_of_one_s_own():
    assert "Did you mean 'learning_rate'?" in message_of(lambda: Inheriting(lr=1))
    assert signature(Inheriting) == signature(Adam)
    assert Extending(lr=0.5, beta1=0.5).get_params(deep=False) == {"lr": 0.5}
    assert "Adam.__init__() got an unexpected keyword argument 'eps'. Did you" in message_of(lambda: Extending(eps=1))
    assert not hasattr(Extending.__init__, "__wrapped__")


@pytest.mark.parametrize(
    ("parameters", "name", "words"),
    [
        ({"optimizer": "adam"}, "optimizer__beta1", r"optimizer='adam' has no parameters\. .*optimizer=Adam\(\)\."),
        (
            {},
            "optimizer__beta1",
            r"optimizer='auto' has no parameters\. Use an object of skgd\.optimizers in its",
        ),
        ({"loss": "huber"}, "loss__epsilon", r"loss='huber' has no parameters\. .*loss=Huber\(\)\."),
        ({}, "learning_rate__power", r"learning_rate=None has no parameters\. Use an object of skgd\.schedules"),
        ({"activation": "elu"}, "activation__alpha", r"activation='elu' has no parameters\. .*activation=ELU\(\)\."),
        ({}, "alpha__x", r"alpha='auto' has no parameters\.$"),
    ],
)
def test_parameters_of_names(parameters, name, words):
    model = GDRegressor(**parameters)
    assert re.search(rf"^Invalid parameter '{name}': {words}", message_of(lambda: model.set_params(**{name: 1})))
    search = GridSearchCV(model, {name: [1]}, cv=2)
    assert re.search(words, message_of(lambda: search.fit(X, LABELS)))


def test_a_name_may_be_replaced_in_the_same_call():
    model = GDRegressor(optimizer="adam").set_params(optimizer__beta1=0.5, optimizer=Adam(0.1))
    assert repr(model.optimizer) == "Adam(beta1=0.5, learning_rate=0.1)"


def test_a_parameter_that_is_known_gets_no_advice():
    assert clone(GDClassifier(alpha=0.5)).alpha == 0.5
    for kind in ("Estimator", "Strategy"):
        assert advice_on_parameter("nonesuch", ["alpha"], kind) == ""


# -- two learning rates -----------------------------------------------------------------------------------------------


@both_estimators
def test_two_learning_rates(estimator):
    few = {"max_iter": 2, "tol": None}
    model = estimator(optimizer=SGD(np.float64(0.03)), learning_rate=np.float32(0.5), **few)
    with pytest.warns(UserWarning, match=r"^learning_rate=0.5 of the estimator is used, not 0.03 of its") as record:
        model.fit(X, LABELS)
    assert [record[0].filename, len(record)] == [__file__, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for both in (
            {"optimizer": SGD(0.03), "learning_rate": 0.03},
            {"optimizer": SGD(), "learning_rate": 0.03},
            {"optimizer": SGD(0.03)},
            {"optimizer": SGD(0.03), "learning_rate": Exponential(0.5)},
            {"optimizer": "sgd", "learning_rate": 0.5},
        ):
            estimator(**both, **few).fit(X, LABELS)


# -- columns of text --------------------------------------------------------------------------------------------------

TABLE = {"size": np.arange(12.0), "city": ["Paris", "Rome", "Oslo"] * 4}


@both_estimators
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_a_column_of_text_is_named_with_the_remedy(estimator, frame, dtype):
    table = frame(TABLE)
    if frame is pd.DataFrame:
        table["city"] = table["city"].astype(dtype)
    message = message_of(lambda: estimator().fit(table, LABELS))
    assert message.startswith("X: could not convert the column 'city' to numbers, which has 'Paris'.")
    remedy = re.search(r"(make_column_transformer\(.*\)) encodes it", message)[1]
    encoder = eval(remedy, {"make_column_transformer": make_column_transformer, "OneHotEncoder": OneHotEncoder})
    assert make_pipeline(encoder, estimator()).fit(pd.DataFrame(TABLE), LABELS).score(pd.DataFrame(TABLE), LABELS) > 0.9


@pytest.mark.parametrize(
    ("rows", "column", "value"),
    [
        (np.array([["1", "a"]] * 12), "1", "'a'"),
        ([["a", 1.0]] * 12, "0", "'a'"),
        (pd.DataFrame(TABLE).to_numpy(), "1", "'Paris'"),
        (pd.DataFrame({3: ["1"] * 12, "b": [None, "x"] * 6}), "'b'", "'x'"),
        (pd.DataFrame({"day": pd.to_datetime(["2020-01-01"] * 12), "z": X[:, 0]}), "'day'", "Timestamp"),
        (pd.DataFrame({"since": pd.to_timedelta([1] * 12, "D"), "z": X[:, 0]}), "'since'", "Timedelta"),
    ],
    ids=["array", "lists", "object", "missing", "dates", "durations"],
)
def test_columns_of_other_tables(rows, column, value):
    message = message_of(lambda: GDRegressor().fit(rows, LABELS))
    assert f"could not convert the column {column} to numbers, which has {value}" in message
    assert "np." not in message


def test_text_in_prediction_and_in_the_validation_set():
    model = GDClassifier().fit(X, LABELS)
    text = np.array([["1", "a"]])
    assert "X: could not convert the column 1" in message_of(lambda: model.predict(text))
    assert "X_val: could not convert the column 1" in message_of(lambda: model.fit(X, LABELS, X_val=text, y_val=[0]))


def test_documents():
    assert "TfidfVectorizer" in message_of(lambda: GDClassifier().fit(["a text", "another"] * 6, LABELS))


def test_numbers_written_as_text_are_numbers():
    assert GDRegressor().fit([["1", "2e3"], ["3", "-4"]], [1.0, 2.0]).n_features_in_ == 2


def test_other_text_is_named_as_python_writes_it():
    for call in (
        lambda: GDRegressor().fit(X, np.array(["a"] * 12)),
        lambda: GDRegressor().fit(X, LABELS, sample_weight=np.array(["a"] * 12)),
    ):
        message = message_of(call)
        assert "'a'" in message
        assert "np." not in message


# -- one-hot targets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, lambda y: y.astype(float), lambda y: y.astype(bool)])
def test_one_hot_targets(kind):
    y = kind(np.eye(3, dtype=int)[LABELS])
    with pytest.warns(
        UserWarning, match=r"y has 3 columns with exactly one 1 in each row.*y.argmax\(axis=1\)"
    ) as record:
        model = GDClassifier(max_iter=2, tol=None, warm_start=True).fit(X, y)
    assert [record[0].filename, len(record)] == [__file__, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)  # once is enough
        pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    with pytest.warns(UserWarning, match="multilabel"):
        GDClassifier().partial_fit(X, y)


def test_columns_of_other_numbers_than_zeros_and_ones():
    y = np.eye(3, dtype=int)[LABELS]
    signs = 2 * y - 1
    assert message_of(lambda: GDClassifier().fit(X, signs)) == (
        "y of several columns must be multilabel, zeros and ones, got [-1, 1]."
    )
    model = GDClassifier(max_iter=2, tol=None).fit(X, 1 - y)
    assert message_of(lambda: model.partial_fit(X, y[:, :2])) == (
        "y must be multilabel, of the shape (n_samples, 3), as in the first call, got (12, 2)."
    )
    assert "y_val must be multilabel, of the shape" in message_of(lambda: model.fit(X, 1 - y, X_val=X, y_val=y[:, :2]))


@pytest.mark.parametrize(
    "y",
    [
        [[0, 1], [1, 1], [1, 0]],
        [[0, 1], [0, 0], [1, 0]],
        [[0, 1, 0], [1, 0, 0]],  # too few to tell
        [[1], [0], [1]],
    ],
    ids=str,
)
def test_labels_that_are_not_exclusive(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "A column-vector y")
        GDClassifier(max_iter=2, tol=None).fit(X[: len(y)], y)
