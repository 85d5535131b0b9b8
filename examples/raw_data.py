"""
Training without scaling and tuning
===================================

Four real data sets of scikit-learn, with unscaled features. Gradient descent on such data usually needs a
``StandardScaler``. ``GDClassifier`` and ``GDRegressor`` standardize features internally (``precondition=True``, the
default) and derive the learning rate from the data. Their coefficients are in the original units of the features.

The table compares them with scikit-learn's ``SGDClassifier`` and ``SGDRegressor``, without and with a
``StandardScaler``.
"""

# sphinx_gallery_thumbnail_path = '_static/thumbnails/raw_data.png'
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
)
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgd import GDClassifier, GDRegressor

# %%
# Mean accuracy of the classifiers and mean R² of the regressors over three folds; all classifiers use the logistic
# loss.

gd_classifier = GDClassifier(random_state=0)
sgd_classifier = SGDClassifier(loss="log_loss", random_state=0)
gd_regressor = GDRegressor(random_state=0)
sgd_regressor = SGDRegressor(random_state=0)
tasks = {
    "breast cancer": (
        load_breast_cancer(return_X_y=True),
        gd_classifier,
        sgd_classifier,
    ),
    "wine": (load_wine(return_X_y=True), gd_classifier, sgd_classifier),
    "digits": (load_digits(return_X_y=True), gd_classifier, sgd_classifier),
    "diabetes": (
        load_diabetes(return_X_y=True, scaled=False),
        gd_regressor,
        sgd_regressor,
    ),
}

print(
    f"{'data':15s}{'score':10s}{'GD*':>8s}{'SGD*':>10s}{'scaled SGD*':>14s}"
)
scores = {}
for name, ((X, y), gd, sgd) in tasks.items():
    models = (gd, sgd, make_pipeline(StandardScaler(), sgd))
    scores[name] = [
        cross_val_score(model, X, y, cv=3).mean() for model in models
    ]
    raw, other, scaled = scores[name]
    score = "R²" if gd is gd_regressor else "accuracy"
    print(f"{name:15s}{score:10s}{raw:8.3f}{other:10.3g}{scaled:14.3f}")
