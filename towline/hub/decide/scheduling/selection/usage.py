"""Usage: how many chosen clusters are in each group, and whether the limits hold."""

from __future__ import annotations

from collections.abc import Sequence

from towline.hub.decide.scheduling.selection.ranked import Ranked
from towline.hub.decide.scheduling.selection.spread import Level


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

    def add(self, cluster: Ranked) -> bool:
        """Unless a maximum would be passed."""
        for level, counts, names in zip(self._levels, self.counts, cluster.groups, strict=True):
            more = [name for name in names if name not in counts]
            if more and len(counts) + len(more) > level.limits.most:
                return False
        for counts, names in zip(self.counts, cluster.groups, strict=True):
            for name in names:
                counts[name] = counts.get(name, 0) + 1
        return True

    def remove(self, cluster: Ranked) -> None:
        for counts, names in zip(self.counts, cluster.groups, strict=True):
            for name in names:
                counts[name] -= 1
                if not counts[name]:
                    del counts[name]

    def exchange(self, old: Ranked, new: Ranked) -> bool:
        """Unless a limit would not hold."""
        self.remove(old)
        if self.add(new):
            if self.holds():
                return True
            self.remove(new)
        self.add(old)
        return False
