"""How tokens are drawn, in Python and in float64: what the engine is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

BOUNDARY = 1e-6
"""How near to one of its bounds a draw may be so that float32 takes the neighbour."""


def philox(seed: int, counter: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Philox4x32-10 as Salmon et al. 2011 define it, with whole numbers."""
    key = [seed % 2**32, seed // 2**32 % 2**32]
    c = list(counter)
    for _ in range(10):
        high = [0xD2511F53 * c[0] // 2**32, 0xCD9E8D57 * c[2] // 2**32]
        low = [0xD2511F53 * c[0] % 2**32, 0xCD9E8D57 * c[2] % 2**32]
        c = [high[1] ^ c[1] ^ key[0], low[1], high[0] ^ c[3] ^ key[1], low[0]]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return tuple(c)


def uniform(seed: int, step: int) -> float:
    """53 bits of the number for a timestep."""
    first, second, *_ = philox(seed % 2**64, (step % 2**32, step // 2**32, 0, 0))
    return ((first >> 5) * 2**26 + (second >> 6)) / 2**53


@dataclass
class Sampler:
    """Draws one token after the other, and counts the draws that are too near to a bound to be told apart."""

    seed: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    allowed: Any = None
    seen: set[int] = field(default_factory=set)
    near: int = 0

    def scores(self, logits: Any, previous: int) -> Any:
        scores = np.array(logits, np.float64)
        scores[np.isnan(scores)] = -np.inf
        for token in self.seen if self.repetition_penalty != 1 else ():
            penalty = float(np.float32(self.repetition_penalty))
            scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
        if self.allowed is not None:
            row = self.allowed if self.allowed.ndim == 1 else self.allowed[previous]
            scores[~row] = -np.inf
        return scores

    def tokens(self, logits: Any, previous: int, step: int) -> set[int]:
        """Return what may be drawn: one token, or two where the number is at the bound between them."""
        scores = self.scores(logits, previous)
        order = sorted(range(len(scores)), key=lambda token: (-scores[token], token))
        if self.temperature == 0:
            return {order[0]}
        weights = np.exp((scores - scores.max()) / float(np.float32(self.temperature)))
        bounds = []
        kept = order[: self.top_k]
        if self.top_p is not None:
            total, so_far, best = weights[kept].sum(), 0.0, []
            for token in kept:
                if best and so_far >= float(np.float32(self.top_p)) * total:
                    break
                so_far += weights[token]
                best.append(token)
                bounds.append(abs(so_far / total - self.top_p))
            kept = best
        probabilities = np.zeros_like(weights)
        probabilities[kept] = weights[kept] / weights[kept].sum()
        cumulated = np.cumsum(probabilities)
        number = uniform(self.seed, step)
        found = {int(np.argmax(cumulated > number + shift)) for shift in (-BOUNDARY, 0.0, BOUNDARY)}
        if len(found) > 1 or (bounds and len(kept) < len(order) and min(bounds) < BOUNDARY):
            self.near += 1
        return found
