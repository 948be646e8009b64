"""Usage: how many chosen clusters are in each group, and whether the limits hold."""

from __future__ import annotations

from collections.abc import Sequence

from towline.hub.decide.scheduling.request import Candidate
from towline.hub.decide.scheduling.spread import Level


class Usage:
    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels = levels
        self.counts: list[dict[str, int]] = [{} for _ in levels]
        """Clusters by group, for each level. A group with none is absent."""

    def holds(self) -> bool:
        return all(
            level.limits.fewest <= len(counts) <= level.limits.most
            for level, counts in zip(self._levels, self.counts, strict=True)
        )

    def add(self, candidate: Candidate) -> bool:
        """Unless a maximum would be passed."""
        held = [level.groups_of(candidate) for level in self._levels]
        for level, counts, names in zip(self._levels, self.counts, held, strict=True):
            if len(counts) + sum(name not in counts for name in names) > level.limits.most:
                return False
        for counts, names in zip(self.counts, held, strict=True):
            for name in names:
                counts[name] = counts.get(name, 0) + 1
        return True

    def remove(self, candidate: Candidate) -> None:
        for level, counts in zip(self._levels, self.counts, strict=True):
            for name in level.groups_of(candidate):
                counts[name] -= 1
                if not counts[name]:
                    del counts[name]

    def exchange(self, old: Candidate, new: Candidate) -> bool:
        """Unless a limit would not hold."""
        self.remove(old)
        if self.add(new):
            if self.holds():
                return True
            self.remove(new)
        self.add(old)
        return False
