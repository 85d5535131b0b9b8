"""
A pipeline for mixed feature types
==================================

Tabular data have numerical features in different units, categorical features and missing values. The usual pipeline
imputes missing values, one-hot encodes categories, and scales numerical features. With ``GDClassifier`` at its end, no
scaler is needed: ages in years and incomes in euros can be used together.

The data are **synthetic**, because scikit-learn includes no such table: loan applications, whose risk depends on the
ratio of loan to income, the time in the present job, the type of housing and the purpose. This example needs pandas.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skgd import GDClassifier

# %%
# The applications: five numerical features, three categorical ones, and missing values in both.

rng = np.random.default_rng(0)
n_rows = 2000
table = pd.DataFrame(
    {
        "age": rng.integers(18, 80, n_rows),
        "income": rng.lognormal(10.5, 0.5, n_rows).round(-2),
        "loan": rng.lognormal(9.3, 0.7, n_rows).round(-2),
        "months_in_job": rng.exponential(50, n_rows).round(),
        "late_payments": rng.poisson(0.7, n_rows),
        "housing": rng.choice(
            ["rent", "own", "mortgage"], n_rows, p=[0.45, 0.2, 0.35]
        ),
        "purpose": rng.choice(
            ["car", "furniture", "education", "debt"], n_rows
        ),
        "region": rng.choice(["north", "south", "east", "west"], n_rows),
    }
)
log_odds = (
    -2.3
    + 1.2 * np.log(table["loan"] / table["income"] / 0.3)
    - 0.015 * table["months_in_job"]
    + 0.9 * table["late_payments"]
    + table["housing"].map({"rent": 0.8, "own": -0.5, "mortgage": 0.0})
    + table["purpose"].map(
        {"car": 0.0, "furniture": 0.0, "education": -0.5, "debt": 1.0}
    )
)
defaulted = np.where(
    rng.random(n_rows) < 1 / (1 + np.exp(-log_odds)), "defaulted", "repaid"
)
table.loc[rng.random(n_rows) < 0.08, "income"] = np.nan
table.loc[rng.random(n_rows) < 0.05, "housing"] = np.nan
print(table.head(3).to_string())
print(f"{(defaulted == 'repaid').mean():.1%} of the loans were repaid.")

# %%
# One pipeline for all models. Numerical features are imputed, but not scaled.

numbers = ["age", "income", "loan", "months_in_job", "late_payments"]
categories = ["housing", "purpose", "region"]


def pipeline(model, scaler="passthrough"):
    """Return a pipeline that ends with the model, and may have a scaler."""
    impute_and_scale = Pipeline(
        [("impute", SimpleImputer(strategy="median")), ("scale", scaler)]
    )
    impute_and_encode = Pipeline(
        [
            (
                "impute",
                SimpleImputer(strategy="constant", fill_value="unknown"),
            ),
            ("encode", OneHotEncoder(handle_unknown="ignore")),
        ]
    )
    columns = ColumnTransformer(
        [
            ("numbers", impute_and_scale, numbers),
            ("categories", impute_and_encode, categories),
        ]
    )
    return Pipeline([("columns", columns), ("model", model)])


# %%
# Five-fold cross-validation. ``LogisticRegression`` uses Newton steps here, because its default solver warns on
# unscaled features that it has not converged. ``SGDClassifier`` needs the scaler.

models = {
    "GDClassifier": pipeline(GDClassifier(random_state=0)),
    "LogisticRegression": pipeline(
        LogisticRegression(solver="newton-cholesky")
    ),
    "SGDClassifier": pipeline(SGDClassifier(loss="log_loss", random_state=0)),
    "SGDClassifier, scaled": pipeline(
        SGDClassifier(loss="log_loss", random_state=0), StandardScaler()
    ),
}
auc, deviation = {}, {}
print(f"{'model':25s}{'accuracy':>10s}{'ROC AUC':>10s}")
for name, model in models.items():
    result = cross_validate(
        model, table, defaulted, scoring=("accuracy", "roc_auc")
    )
    auc[name] = result["test_roc_auc"].mean()
    deviation[name] = result["test_roc_auc"].std()
    print(
        f"{name:25s}{result['test_accuracy'].mean():10.3f}{auc[name]:10.3f}"
    )

# %%
# The area under the ROC curve, and its standard deviation over the folds. A model that guesses has 0.5.

figure, axes = plt.subplots(figsize=(6.4, 3), layout="constrained")
colors = ["#0072B2", "#56B4E9", "#D55E00", "#E69F00"]
axes.barh(
    list(auc), list(auc.values()), xerr=list(deviation.values()), color=colors
)
axes.set(xlim=(0.5, 1), xlabel="ROC AUC (mean of 5 folds)")
axes.invert_yaxis()
axes.grid(axis="x", alpha=0.3)
plt.show()

# %%
# The coefficients are in the units of the features: the change of the log-odds of repaying for one more late payment,
# and for a year in the job.

model = models["GDClassifier"].fit(table, defaulted)
names = [
    name.split("__", 1)[1]
    for name in model["columns"].get_feature_names_out()
]
coefficients = dict(zip(names, model["model"].coef_[0], strict=True))
print(f"a late payment:    {coefficients['late_payments']:+.2f}")
print(f"a year in the job: {12 * coefficients['months_in_job']:+.2f}")
