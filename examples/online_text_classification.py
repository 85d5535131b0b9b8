"""
Online text classification
==========================

Messages arrive over time, and the model is tested on each batch before it is trained on it: in this *progressive*
validation (test, then train), no message is tested after it was used for training. ``HashingVectorizer`` needs no
vocabulary, so that it can process new words, and ``partial_fit`` trains on one batch at a time. With the default of
:math:`2^{20}` features, hash collisions are rare. The cost of a call of ``partial_fit`` depends on the words of its
messages, not on the number of features; the model takes 64 bytes per feature (for two classes), and a pickle contains
only the features that have occurred.

The data are **synthetic**, because scikit-learn includes no text: short messages to the help desk of a shop, with words
that are typical of one topic and words that are not. Half-way, there is concept drift: a new payment service and a new
parcel service, "Blip" and "Zoom", appear, and people begin to write "app" instead of "website".
"""

import pickle

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

from skgd import GDClassifier

# %%
# The stream.

TOPICS = {
    "billing": "invoice refund charged twice card payment price amount bank "
    "receipt discount",
    "delivery": "parcel late courier address tracking arrived damaged box "
    "delivery shipped return",
    "technical": "website error login password crash page slow account reset "
    "button loading",
}
NEW_WORDS = {
    "billing": "blip wallet",
    "delivery": "zoom locker",
    "technical": "app update",
}
COMMON = (
    "hello please my order yesterday again still help thanks cannot why "
    "customer number today week problem with"
)


def stream(n_batches, batch_size, seed=0):
    """Yield messages and topics; new words appear in the second half."""
    rng = np.random.default_rng(seed)
    common = COMMON.split()
    own = {topic: words.split() for topic, words in TOPICS.items()}
    new = {topic: words.split() for topic, words in NEW_WORDS.items()}
    for batch in range(n_batches):
        drift = 0.8 * max(0.0, 2 * batch / n_batches - 1)
        topics = rng.choice(list(TOPICS), batch_size, p=[0.3, 0.5, 0.2])
        messages = []
        for topic in topics:
            words = list(rng.choice(common, rng.integers(4, 9)))
            for _ in range(rng.integers(1, 4)):
                about = topic
                if rng.random() >= 0.8:  # some words are of another topic
                    about = rng.choice(list(TOPICS))
                known = new if rng.random() < drift else own
                words.append(rng.choice(known[about]))
            rng.shuffle(words)
            messages.append(" ".join(words))
        yield messages, topics


messages, topics = next(stream(1, 3))
for message, topic in zip(messages, topics, strict=True):
    print(f"{topic:10s} {message}")

# %%
# Test, then train. The first batch is used for training only.

N_BATCHES, BATCH_SIZE, REPORT = 100, 50, 10
vectorizer = HashingVectorizer()
models = {
    "GDClassifier": GDClassifier(random_state=0),
    "SGDClassifier": SGDClassifier(loss="log_loss", random_state=0),
}
right = {
    name: [] for name in models
}  # for each tested message, whether the prediction is correct
tested = []

print(
    f"\n{'messages':>8s}"
    + "".join(f"{name:>15s}" for name in models)
    + "   (accuracy since the previous line)"
)
for number, (messages, topics) in enumerate(
    stream(N_BATCHES, BATCH_SIZE), start=1
):
    X = vectorizer.transform(messages)
    for name, model in models.items():
        if number > 1:
            right[name].extend(model.predict(X) == topics)
        model.partial_fit(X, topics, classes=list(TOPICS))
    if number > 1:
        tested.extend(topics)
    if number % REPORT == 0:
        accuracies = [
            np.mean(hits[-REPORT * BATCH_SIZE :]) for hits in right.values()
        ]
        print(
            f"{number * BATCH_SIZE:8d}"
            + "".join(f"{accuracy:15.3f}" for accuracy in accuracies)
        )

# %%
# The progressive accuracy over the whole stream, compared with always predicting the most frequent topic.

progressive = {name: float(np.mean(hits)) for name, hits in right.items()}
majority = max(tested.count(topic) for topic in TOPICS) / len(tested)
for name, accuracy in progressive.items():
    print(f"{name + ':':15s} {accuracy:.3f}")
print(f"majority:       {majority:.3f}")

# %%
# Accuracy over time, as a mean over the last ten batches. It decreases with the new words, until they are learned.

figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
window = np.ones(REPORT * BATCH_SIZE) / (REPORT * BATCH_SIZE)
for (name, hits), color, line in zip(
    right.items(), ("#0072B2", "#D55E00"), ("-", "--"), strict=True
):
    accuracy = np.convolve(hits, window, mode="valid")
    seen = np.arange(len(accuracy)) + len(window) + BATCH_SIZE
    axes.plot(seen, accuracy, color=color, linestyle=line, label=name)
axes.axhline(majority, color="black", linestyle=":", label="majority")
axes.axvline(
    N_BATCHES * BATCH_SIZE / 2, color="gray", label="new words begin"
)
axes.set(xlabel="messages", ylabel="accuracy")
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %%
# A pickle of the model contains only the features that have occurred.

features = models["GDClassifier"].n_features_in_
print(
    f"{features:,} features, "
    f"a pickle of {len(pickle.dumps(models['GDClassifier'])) / 1e3:.0f} kB"
)
