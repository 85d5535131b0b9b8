"""The constructor and the docstring of the two estimators, which are made of the same parts."""

import re
import subprocess
import sys
from dataclasses import is_dataclass
from inspect import Parameter, signature
from typing import get_type_hints

import pytest
from sklearn.base import clone

from skgd import GDClassifier, GDRegressor

BOTH = pytest.mark.parametrize("estimator", [GDClassifier, GDRegressor])


def entries(estimator, section):
    """Return the names that a section of a docstring has entries for."""
    text = re.search(rf"\n{section}\n-+\n(.*?)\n\n", estimator.__doc__, re.DOTALL)[1]
    return re.findall(r"^(\w+) : ", text, re.MULTILINE)


def test_the_estimators_differ_in_their_loss_and_class_weights_only():
    classifier, regressor = (dict(signature(estimator).parameters) for estimator in (GDClassifier, GDRegressor))
    names = list(classifier)
    assert names[names.index("class_weight") - 1] == "max_grad_norm"
    del classifier["class_weight"]
    assert [classifier.pop("loss").default, regressor.pop("loss").default] == ["log_loss", "squared_error"]
    assert list(classifier.items()) == list(regressor.items())
    assert {parameter.kind for parameter in classifier.values()} == {Parameter.KEYWORD_ONLY}


@BOTH
def test_the_constructor_is_as_if_written_by_hand(estimator):
    parameters = signature(estimator).parameters
    assert next(iter(parameters.values())).kind is Parameter.POSITIONAL_OR_KEYWORD
    assert {type(parameter.annotation) for parameter in parameters.values()} == {str}
    assert get_type_hints(estimator.__init__).keys() >= parameters.keys()
    assert vars(estimator()) == {name: parameter.default for name, parameter in parameters.items()}
    assert list(vars(estimator())) == list(parameters)
    assert not any(name in vars(kind) for kind in estimator.__mro__ for name in parameters if name != "class_weight")
    message = re.escape(f"{estimator.__name__}.__init__() got an unexpected keyword argument 'max_iterations'")
    with pytest.raises(TypeError, match=message):
        estimator(max_iterations=3)


@BOTH
def test_every_parameter_and_attribute_is_documented_once_and_in_order(estimator):
    assert entries(estimator, "Parameters") == list(signature(estimator).parameters)
    attributes = entries(estimator, "Attributes")
    assert len(set(attributes)) == len(attributes)
    assert {"coef_", "coefs_", "history_", "n_features_in_"} <= set(attributes)
    assert not re.search(r"{parameters}|{attributes}|\[(classifier|regressor):", estimator.__doc__)
    assert max(map(len, estimator.__doc__.splitlines())) <= 120


def test_what_differs_is_said():
    assert "plain SGD" in GDClassifier.__doc__
    assert "plain SGD" not in GDRegressor.__doc__
    assert "1000 of them (with hidden layers 64)" in GDRegressor.__doc__


@BOTH
def test_an_estimator_is_no_dataclass(estimator):
    """Dask takes an object of a dataclass for its fields, and would not see what it has learned."""
    assert not is_dataclass(estimator())


@BOTH
def test_a_subclass_may_have_a_constructor_of_its_own(estimator):
    class Mine(estimator):
        def __init__(self, more=1, max_iter=7):
            super().__init__(max_iter=max_iter)
            self.more = more

    assert clone(Mine(more=2)).get_params() == {"more": 2, "max_iter": 7}
    assert Mine.__doc__ is None


def test_the_names_under_which_models_are_saved():
    assert {GDClassifier.__module__, GDRegressor.__module__} == {"skgd.estimators"}


def test_without_docstrings():
    code = "from skgd import GDClassifier as C; exit(C.__doc__ is not None or C(max_iter=3).max_iter != 3)"
    subprocess.run([sys.executable, "-OO", "-c", code], check=True)
