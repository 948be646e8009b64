"""The hub's epoch: a number in the store that grows with every start, and the store's own name.

An agent remembers the highest epoch it has seen of a store. A hub that comes with a lower one was restored from an old copy, and what
it does not know is not to be taken for deleted.
"""

from __future__ import annotations

from collections.abc import Callable

from towline.hub.store.cache import Cache
from towline.hub.store.contract import Conflict, Write
from towline.kube.objects import Key, Object, encode

HUB_ROW = Key("towline.io", "hubs", "", "epoch")


def current(cache: Cache) -> int:
    """The store's epoch as this hub sees it: another hub's start raises it for all of them. Changes and epochs stand in one order, so
    (epoch, revision) tells the older of two Works whichever hubs computed them."""
    entry = cache.get(HUB_ROW)
    return int(entry.object["spec"]["epoch"]) if entry is not None else 0


async def raise_epoch(cache: Cache, new_uid: Callable[[], str], at_least: int = 0) -> tuple[str, int]:
    """The store's id and its next epoch, which is also at least `at_least`. Made durable before it is answered, so that no
    two starts share one."""
    while True:
        entry = cache.get(HUB_ROW)
        spec: Object = entry.object["spec"] if entry is not None else {"storeID": new_uid(), "epoch": 0}
        raised = {**spec, "epoch": max(int(spec["epoch"]) + 1, at_least)}
        row: Object = {
            "apiVersion": "towline.io/v1",
            "kind": "Hub",
            "metadata": {"name": HUB_ROW.name},
            "spec": raised,
        }
        try:
            await cache.commit(
                [Write(HUB_ROW.path(), encode(row), entry.revision if entry is not None else 0)]
            )
        except Conflict:
            continue  # another hub on the same store started just now
        return str(raised["storeID"]), int(raised["epoch"])
