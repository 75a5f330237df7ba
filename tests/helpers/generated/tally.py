"""What became of random networks, counted: by family and class, and what is refused by design, by reason."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from paths import DATA

from generated.comparison import BY_DESIGN, KINDS, REFUSED, Outcome

STORED = DATA / "generated" / "tally.json"
"""What the page shows: written by ``tests/helpers/differential.py --store``."""


@dataclass
class Tally:
    """Counts of files: each network is one by every way that leads from its framework to a file."""

    networks: int
    seed: int
    weights: Mapping[str, int]
    """How often each family is drawn."""
    families: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, family: str, outcome: Outcome) -> None:
        self.families[family][outcome.kind] += 1
        if outcome.kind == BY_DESIGN and outcome.reason is not None:
            self.reasons[outcome.reason.name] += 1

    def total(self, kind: str) -> int:
        return sum(counts[kind] for counts in self.families.values())

    @property
    def files(self) -> int:
        return sum(map(self.total, KINDS))

    @property
    def refused_part(self) -> float:
        """The part of files that are refused for no reason of design."""
        return self.total(REFUSED) / max(1, self.files)

    def table(self) -> str:
        """Return the counts as a table of Markdown, the families in the order in which they are written."""
        lines = [
            f"| family | weight | {' | '.join(KINDS)} |",
            f"| --- | {' | '.join(['---:'] * (1 + len(KINDS)))} |",
            *(_line(name, weight, self.families.get(name, {})) for name, weight in self.weights.items()),
            _line("all", sum(self.weights.values()), {kind: self.total(kind) for kind in KINDS}),
        ]
        return "\n".join(lines) + "\n"

    def of_reasons(self) -> str:
        """Return how many are refused by design for each reason."""
        return ", ".join(f"{count} {name}" for name, count in sorted(self.reasons.items()))

    def store(self) -> None:
        STORED.parent.mkdir(exist_ok=True)
        content = {**vars(self), "families": {name: dict(self.families[name]) for name in self.weights}}
        STORED.write_text(json.dumps(content, indent=1, sort_keys=False) + "\n", encoding="utf-8")


def stored(path: Path = STORED) -> Tally:
    """Return the counts that the page shows."""
    content = json.loads(path.read_text(encoding="utf-8"))
    families = {name: Counter(counts) for name, counts in content.pop("families").items()}
    return Tally(**{**content, "reasons": Counter(content["reasons"])}, families=families)


def _line(name: str, weight: int, counts: Mapping[str, int]) -> str:
    return f"| {name} | {weight} | {' | '.join(str(counts.get(kind) or '') for kind in KINDS)} |"
