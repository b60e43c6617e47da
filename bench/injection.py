"""Measure the prompt-injection detector on the sample in `data/injection.jsonl`, and what it costs.

The sample was written for this repository, none of it was trained on, and it is hard on purpose: near misses,
role-play, people who write about attacks, instructions inside documents. More: `injection_train.py`, the model card.
"""

from __future__ import annotations

import json
import random
import string
import time
from math import sqrt
from pathlib import Path

from bedplate.gateway import injection

SAMPLE = Path(__file__).parent / "data" / "injection.jsonl"
ROUNDS = 200
Z = 1.959964  # of the normal distribution, for 95 %


def main() -> None:
    """Print recall or false positives for each set with its Wilson interval, then microseconds."""
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    for name, label in sorted({(row["set"], row["label"]) for row in rows}, key=lambda key: (-key[1], key[0])):
        texts = [row["text"] for row in rows if (row["set"], row["label"]) == (name, label)]
        found = sum(injection.score(text) >= injection.THRESHOLD for text in texts)
        low, high = interval(found, len(texts))
        what = "recall" if label else "false positives"
        print(f"{name:<12}{what:<17}{found:>3} of {len(texts):<4}{found / len(texts):.2f}  95 % {low:.2f}-{high:.2f}")
    for name, text in texts_to_time().items():
        rounds = max(1, ROUNDS * 2048 // len(text))
        print(f"{name:<30}{cost(text, rounds):>9.0f} us")


def interval(found: int, count: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a share (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share, room = found / count, Z * Z / count
    middle, half = share + room / 2, Z * sqrt(share * (1 - share) / count + room / count / 4)
    return max(0.0, (middle - half) / (1 + room)), min(1.0, (middle + half) / (1 + room))


def texts_to_time() -> dict[str, str]:
    """Return ordinary and hostile texts of 2 KB and 100 KB."""
    handbook = Path(__file__).parent.parent / "examples" / "harbour-mutual" / "handbook"
    prose = "\n".join(path.read_text(encoding="utf-8") for path in sorted(handbook.glob("*.md")))
    chance = random.Random(1)
    noise = " ".join("".join(chance.choices(string.ascii_lowercase, k=8)) for _ in range(12_000))
    return {
        "2 KB handbook": prose[:2048],
        "2 KB unknown words": noise[:2048],
        "100 KB handbook": (prose * 9)[:100_000],
        "100 KB unknown words": noise[:100_000],
        "100 KB 'ignore your'": ("ignore your " * 9_000)[:100_000],
    }


def cost(text: str, rounds: int) -> float:
    """Return processor microseconds of one score, the least of five tries."""
    tries = []
    for _ in range(5):
        begin = time.process_time()
        for _ in range(rounds):
            injection.score(text)
        tries.append((time.process_time() - begin) / rounds * 1e6)
    return min(tries)


if __name__ == "__main__":
    main()
