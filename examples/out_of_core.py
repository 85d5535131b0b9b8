"""
Larger than memory: chunks of a file
====================================

A file that does not fit into memory is read in chunks, and the model learns from each with ``partial_fit``: several
passes over the file, with a validation set to see when to stop. Categories of which nobody has a list are hashed, to
:math:`2^{20}` columns here; a row costs the ones that it has, so that the number of columns does not matter. The same
loop reads parquet, in row groups, with ``pyarrow.parquet.ParquetFile(path).iter_batches()``.

The file is **made up**: visits of web pages by users, and whether an advertisement was clicked.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track
from sklearn.feature_extraction import FeatureHasher
from sklearn.metrics import log_loss

from skgd import GDClassifier

# %%
# The file: 40,000 visits, written in pieces as well.

N_CHUNKS, CHUNK = 20, 2_000
rng = np.random.default_rng(0)
of_user, of_page = rng.normal(size=3_000), rng.normal(size=500)


def visits(number):
    """Return some visits: who, which page, at what hour, and whether there was a click."""
    user, page, hour = rng.integers(0, 3_000, number), rng.zipf(1.3, number) % 500, rng.integers(0, 24, number)
    score = of_user[user] + of_page[page] + 0.05 * (hour - 12) - 1.0
    return pd.DataFrame(
        {"user": user, "page": page, "hour": hour, "click": rng.random(number) < 1 / (1 + np.exp(-score))}
    )


folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "visits.csv"
for number in range(N_CHUNKS):
    visits(CHUNK).to_csv(path, mode="a", header=number == 0, index=False)
print(f"{path.stat().st_size / 1e6:.1f} MB, of which {CHUNK:,} rows at a time are in memory")

# %%
# Categories become columns by hashing their names; the hour stays a number. Nothing is scaled: the model learns scales
# on the way.

hasher = FeatureHasher(n_features=2**20, input_type="dict", alternate_sign=False)


def read(frame):
    """Return hashed features and target of a chunk."""
    features = [
        {f"user={user}": 1.0, f"page={page}": 1.0, "hour": float(hour)}
        for user, page, hour in zip(frame["user"], frame["page"], frame["hour"], strict=True)
    ]
    return hasher.transform(features), frame["click"].to_numpy()


# %%
# Some passes over the file, and the loss on visits held out after each.

X_val, y_val = read(visits(4_000))
model = GDClassifier(random_state=0)
for epoch in range(1, 5):
    chunks = pd.read_csv(path, chunksize=CHUNK)
    for frame in track(chunks, f"epoch {epoch}", total=N_CHUNKS):
        model.partial_fit(*read(frame), classes=[False, True])
    print(f"epoch {epoch}: log-loss on held-out rows {log_loss(y_val, model.predict_proba(X_val)):.3f}")

share = y_val.mean()
print(f"of the share of clicks alone: {-share * np.log(share) - (1 - share) * np.log(1 - share):.3f}")
folder.cleanup()
