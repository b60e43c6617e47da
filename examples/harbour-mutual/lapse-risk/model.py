"""How likely a policy is not renewed: logistic regression, fitted to policies.csv when it starts. `model.py PORT`."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from endpoint import serve

FEATURES = ("years_held", "price_rise_percent", "claims", "contacts")
SCALE = (10.0, 20.0, 3.0, 5.0)
CALL_FROM = 500  # per mille


def fitted(rows: list[dict[str, str]], rounds: int = 2_000, rate: float = 0.5) -> list[float]:
    """Return the intercept and a weight for each feature, by gradient descent on the log loss."""
    made = [([1.0, *scaled(row)], float(row["lapsed"])) for row in rows]
    weights = [0.0] * (len(FEATURES) + 1)
    for _ in range(rounds):
        slopes = [0.0] * len(weights)
        for values, lapsed in made:
            off = likely(weights, values) - lapsed
            slopes = [s + off * v for s, v in zip(slopes, values, strict=True)]
        weights = [w - rate * s / len(made) for w, s in zip(weights, slopes, strict=True)]
    return weights


def scaled(row: dict[str, Any]) -> list[float]:
    """Bring the features to about one."""
    return [float(row[name]) / most for name, most in zip(FEATURES, SCALE, strict=True)]


def likely(weights: list[float], values: list[float]) -> float:
    """Return the probability."""
    return 1 / (1 + math.exp(-sum(w * v for w, v in zip(weights, values, strict=True))))


if __name__ == "__main__":
    with (Path(__file__).parent / "policies.csv").open() as file:
        WEIGHTS = fitted(list(csv.DictReader(file)))

    def answer(messages: list[dict[str, Any]], _tools: list[dict[str, Any]]) -> dict[str, Any]:
        """Predict for the features in the newest message, as JSON."""
        asked = json.loads(messages[-1]["content"])
        permille = round(1000 * likely(WEIGHTS, [1.0, *scaled(asked)]))
        advice = "call" if permille >= CALL_FROM else "leave"
        return {"content": json.dumps({"lapse_permille": permille, "advice": advice})}

    serve(int(sys.argv[1]), "lapse-risk-1", answer)
