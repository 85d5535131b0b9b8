"""
Three optimizers on record in MLflow
====================================

MLflow keeps what was trained, with which parameters, and how it went. The callback ``MLflowLogger`` sends it each epoch
of our trainings. Here three runs are logged to a folder, and then asked which was the best.
"""

import os
import tempfile

import mlflow
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skgd import GDClassifier
from skgd.callbacks import MLflowLogger

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # a folder, in place of a server or a database
mlflow.set_tracking_uri(f"file://{tempfile.mkdtemp()}/runs")

X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
for optimizer in ("sgd", "adagrad", "adam"):
    model = GDClassifier(hidden_layer_sizes=32, optimizer=optimizer, max_iter=15, tol=None, random_state=0)
    model.set_callbacks(MLflowLogger(log_model=optimizer == "adam"))
    with mlflow.start_run(run_name=optimizer):
        model.fit(X_train, y_train)
        mlflow.log_metric("test_accuracy", model.score(X_test, y_test))

# %%
# The runs, the best one first. The whole of ``history_`` is a curve of each.

runs = mlflow.search_runs(order_by=["metrics.test_accuracy DESC"], output_format="list")
client = mlflow.MlflowClient()
for run in runs:
    objective = [entry.value for entry in client.get_metric_history(run.info.run_id, "objective")]
    print(
        f"{run.data.params['optimizer']:8} objective {objective[0]:.2f} ... {objective[-1]:.3f} "
        f"in {len(objective)} epochs, test accuracy {run.data.metrics['test_accuracy']:.3f}"
    )

# %%
# The model was logged with one of them. What is loaded predicts, and could go on learning.

(logged,) = mlflow.search_logged_models(output_format="list")
loaded = mlflow.sklearn.load_model(logged.model_uri)
print(f"loaded, test accuracy {loaded.score(X_test, y_test):.3f}")
