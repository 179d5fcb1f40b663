"""Recordings of different lengths in scikit-learn: pipeline, cross-validation, confusion matrix.

Nine men say the same vowels; the task is who speaks. A list of arrays goes through scikit-learn's
own tools as it is, without padding. ``python examples/classify.py`` takes about 20 seconds and
writes ``classify.png`` (needs scikit-learn and matplotlib).
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import gru

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="classify.png", help="where the picture goes")
parser.add_argument("--quick", action="store_true", help="train far too little: does it run?")
options = parser.parse_args()


def with_slopes(recordings: list[np.ndarray]) -> list[np.ndarray]:
    """Add to each frame (12,) how it changes, as is usual for speech: (T, 12) -> (T, 24)."""
    return [np.hstack([frames, np.gradient(frames, axis=0)]) for frames in recordings]


speech = gru.datasets.japanese_vowels()  # lists of arrays (T, 12) with 7 to 29 frames
names = np.array([f"man {speaker + 1}" for speaker in range(9)])  # labels may be strings

pipeline = make_pipeline(
    FunctionTransformer(with_slopes),
    gru.GRUClassifier(epochs=1 if options.quick else 40, random_state=0, threads=1),
)
choices = {
    "functiontransformer__func": [None, with_slopes],
    "gruclassifier__bidirectional": [False, True],
}
search = GridSearchCV(pipeline, choices, cv=2 if options.quick else 5)
search.fit(speech.X_train, names[speech.y_train])

print("accuracy in cross-validation on the 270 recordings to train on:")
for score, chosen in zip(
    search.cv_results_["mean_test_score"], search.cv_results_["params"], strict=True
):
    slopes = "frames and slopes" if chosen["functiontransformer__func"] else "frames"
    ways = "both ways" if chosen["gruclassifier__bidirectional"] else "forward"
    print(f"  {score:.3f}  {slopes}, read {ways}")

print(
    f"the best of them on the 370 others: {search.score(speech.X_test, names[speech.y_test]):.3f}"
)
unsure = search.predict_proba(speech.X_test).max(axis=1).argmin()
(chances,) = search.predict_proba([speech.X_test[unsure]])
for name, chance in zip(search.classes_, chances, strict=True):
    if chance > 0.1:
        print(f"  the recording it is least sure of: {name} with {chance:.2f}")

figure = gru.plot.confusion(search.predict(speech.X_test), names[speech.y_test])
figure.savefig(options.out)
print(f"wrote {options.out}")
