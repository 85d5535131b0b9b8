"""
Deploying a pipeline with ONNX
==============================

ONNX is a model format for predictions without Python: on a server written in another language, on a phone, in a
browser. ``skgd.onnx`` registers converters for skgd's estimators with skl2onnx. This example converts a pipeline with
numerical and categorical features.
"""

# sphinx_gallery_thumbnail_path = '_static/thumbnails/onnx_predictions.png'
import numpy as np
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skgd import GDClassifier
from skgd.onnx import register

register()  # registers the converters with skl2onnx

rng = np.random.default_rng(0)
table = pd.DataFrame(
    {
        "age": rng.integers(18, 80, 2000),
        "city": rng.choice(["Paris", "Rome", "Oslo"], 2000),
    }
)
table["income"] = (
    900 * np.sqrt(table["age"]) * rng.lognormal(0, 0.5, 2000)
).round()
score = (
    0.05 * (table["age"] - 45)
    + (table["city"] == "Rome")
    - table["income"] / 8000
    + rng.logistic(0, 0.5, 2000)
)
bought = np.where(score > 0, "yes", "no")

encoder = make_column_transformer(
    (OneHotEncoder(sparse_output=False), ["city"]),
    ("passthrough", ["age", "income"]),
    verbose_feature_names_out=False,
)
model = make_pipeline(encoder, GDClassifier(random_state=0)).fit(
    table, bought
)
print(f"accuracy: {model.score(table, bought):.2f}")

# %%
# ONNX needs the type of each column. Without ``zipmap``, probabilities are an array, as in scikit-learn.

types = [
    ("age", FloatTensorType([None, 1])),
    ("city", StringTensorType([None, 1])),
    ("income", FloatTensorType([None, 1])),
]
graph = to_onnx(model, initial_types=types, options={"zipmap": False})
print("inputs: ", *(each.name for each in graph.graph.input))
print("outputs:", *(each.name for each in graph.graph.output))
print(f"size: {len(graph.SerializeToString()) / 1000:.0f} kB")

# %%
# The converted model runs without scikit-learn and skgd.

session = onnxruntime.InferenceSession(graph.SerializeToString())
columns = {
    "age": table[["age"]].to_numpy(np.float32),
    "city": table[["city"]].to_numpy(object),
    "income": table[["income"]].to_numpy(np.float32),
}
label, probabilities = session.run(None, columns)
print("labels that differ:", np.count_nonzero(label != model.predict(table)))
print(
    "largest difference of a probability: "
    f"{np.abs(probabilities - model.predict_proba(table)).max():.0e}"
)
