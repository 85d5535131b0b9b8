"""
Data larger than memory
=======================

A file that does not fit into memory is read in chunks, and the model is trained on each chunk with ``partial_fit``, in
several passes over the file, with a validation set to decide when to stop. Categories without a known list of values
are hashed, here to :math:`2^{20}` features; the cost of a sample does not depend on the number of features. The same
loop reads parquet files with ``pyarrow.parquet.ParquetFile(path).iter_batches()``.

The data are **synthetic**: visits of web pages by users, and whether an advertisement was clicked.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rich.progress import track
from sklearn.feature_extraction import FeatureHasher
from sklearn.metrics import log_loss

from skgd import GDClassifier

# %%
# The file has 40,000 visits, and is written in chunks, too.

N_CHUNKS, CHUNK = 20, 2_000
rng = np.random.default_rng(0)
of_user, of_page = rng.normal(size=3_000), rng.normal(size=500)


def visits(number):
    """Return visits: user, page, hour, and whether there was a click."""
    user, page, hour = (
        rng.integers(0, 3_000, number),
        rng.zipf(1.3, number) % 500,
        rng.integers(0, 24, number),
    )
    score = of_user[user] + of_page[page] + 0.05 * (hour - 12) - 1.0
    return pd.DataFrame(
        {
            "user": user,
            "page": page,
            "hour": hour,
            "click": rng.random(number) < 1 / (1 + np.exp(-score)),
        }
    )


folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "visits.csv"
for number in range(N_CHUNKS):
    visits(CHUNK).to_csv(path, mode="a", header=number == 0, index=False)
print(
    f"{path.stat().st_size / 1e6:.1f} MB, {CHUNK:,} rows at a time in memory"
)

# %%
# Categories are hashed; the hour is numerical. It needs no scaler: ``partial_fit`` updates the scales of the features
# with each batch.

hasher = FeatureHasher(
    n_features=2**20, input_type="dict", alternate_sign=False
)


def read(frame):
    """Return hashed features and target of a chunk."""
    features = [
        {f"user={user}": 1.0, f"page={page}": 1.0, "hour": float(hour)}
        for user, page, hour in zip(
            frame["user"], frame["page"], frame["hour"], strict=True
        )
    ]
    return hasher.transform(features), frame["click"].to_numpy()


# %%
# Several passes over the file, and the loss on held-out data after each.

X_val, y_val = read(visits(4_000))
model = GDClassifier(random_state=0)
losses = []
for epoch in range(1, 5):
    chunks = pd.read_csv(path, chunksize=CHUNK)
    for frame in track(chunks, f"epoch {epoch}", total=N_CHUNKS):
        model.partial_fit(*read(frame), classes=[False, True])
    losses.append(log_loss(y_val, model.predict_proba(X_val)))
    print(f"epoch {epoch}: log loss on held-out data {losses[-1]:.3f}")

share = y_val.mean()
constant = -share * np.log(share) - (1 - share) * np.log(1 - share)
print(f"log loss of the class frequencies: {constant:.3f}")
folder.cleanup()

figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
axes.plot(range(1, 5), losses, color="#0072B2", marker="o", label="model")
axes.axhline(
    constant, color="black", linestyle=":", label="class frequencies"
)
axes.set(
    xlabel="epoch", ylabel="log loss on held-out data", xticks=range(1, 5)
)
axes.grid(alpha=0.3)
axes.legend()
plt.show()
