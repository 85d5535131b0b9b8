"""
Experiment tracking with MLflow
===============================

MLflow records parameters, metrics and models of training runs. The callback ``MLflowLogger`` logs each epoch of
``fit``. This example logs three runs to a local folder, and finds the best one.
"""

import os
import tempfile

import matplotlib.pyplot as plt
import mlflow
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skgd import GDClassifier
from skgd.callbacks import MLflowLogger

os.environ["MLFLOW_ALLOW_FILE_STORE"] = (
    "true"  # a local folder instead of a server
)
mlflow.set_tracking_uri(f"file://{tempfile.mkdtemp()}/runs")

X_train, X_test, y_train, y_test = train_test_split(
    *load_digits(return_X_y=True), random_state=0
)
for optimizer in ("sgd", "adagrad", "adam"):
    model = GDClassifier(
        hidden_layer_sizes=32,
        optimizer=optimizer,
        max_iter=15,
        tol=None,
        random_state=0,
    )
    model.set_callbacks(MLflowLogger(log_model=optimizer == "adam"))
    with mlflow.start_run(run_name=optimizer):
        model.fit(X_train, y_train)
        mlflow.log_metric("test_accuracy", model.score(X_test, y_test))

# %%
# The runs, the best one first. Every column of ``history_`` is a metric.

runs = mlflow.search_runs(
    order_by=["metrics.test_accuracy DESC"], output_format="list"
)
client = mlflow.MlflowClient()
curves = {}
for run in runs:
    objective = [
        entry.value
        for entry in client.get_metric_history(run.info.run_id, "objective")
    ]
    name = run.data.params["optimizer"]
    curves[name] = objective
    print(
        f"{name:8} objective {objective[0]:.2f} ... {objective[-1]:.3f} "
        f"in {len(objective)} epochs, "
        f"test accuracy {run.data.metrics['test_accuracy']:.3f}"
    )

figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
for (name, objective), marker in zip(curves.items(), "osD", strict=True):
    epochs = range(1, len(objective) + 1)
    axes.plot(epochs, objective, marker=marker, markersize=4, label=name)
axes.set(yscale="log", xlabel="epoch", ylabel="objective")
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %%
# One of the runs has logged its model. The loaded model predicts, and could continue training.

(logged,) = mlflow.search_logged_models(output_format="list")
loaded = mlflow.sklearn.load_model(logged.model_uri)
print(f"loaded, test accuracy {loaded.score(X_test, y_test):.3f}")
