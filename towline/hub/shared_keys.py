"""The keys that sign ServiceAccounts' tokens, and the tokens' issuer, as hubs on one store share them: one row that all follow.

A key file in DATA/pki that the row lacks is added to it at the hub's start and signs from then on: the first hub's files are where it
begins, and a new file in one hub's DATA is how a new key comes to all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from towline.certs.signing import SigningKeys
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Conflict, Write
from towline.kube.objects import Key, Object, encode

KEYS = Key("towline.io", "signingkeys", "", "hub")


class SharedKeys:
    """The row's keys, followed until `stop`; signs and verifies as SigningKeys does."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.issuer = ""
        self._keys = self._read()
        self.stop: Callable[[], None] = cache.subscribe(self._rows_changed)

    def sign(self, claims: Mapping[str, Any]) -> str:
        return self._keys.sign(claims)

    def claims(self, token: str) -> dict[str, Any]:
        return self._keys.claims(token)

    def jwks(self) -> dict[str, Any]:
        return self._keys.jwks()

    def _rows_changed(self, revision: int, events: Sequence[Any]) -> None:
        if any(event.entry.key == KEYS and event.type != "DELETED" for event in events):
            self._keys = self._read()

    def _read(self) -> SigningKeys:
        entry = self._cache.get(KEYS)
        assert entry is not None
        spec = entry.object["spec"]
        self.issuer = spec["issuer"]
        return SigningKeys.of_pems([pem.encode() for pem in spec["keys"]])


async def shared(cache: Cache, own: SigningKeys, issuer: str) -> SharedKeys:
    """The store's keys, with `own` among them. `issuer` is what the tokens' issuer becomes when the store has none yet."""
    while True:
        entry = cache.get(KEYS)
        spec = entry.object["spec"] if entry is not None else {"keys": [], "issuer": issuer}
        missing = [pem for pem in own.pems if pem not in spec["keys"]]
        if not missing:
            return SharedKeys(cache)
        row: Object = {
            "apiVersion": "towline.io/v1", "kind": "SigningKeys", "metadata": {"name": KEYS.name},
            "spec": {**spec, "keys": [*spec["keys"], *missing]},
        }  # fmt: skip
        with suppress(Conflict):  # another hub made it just now
            await cache.commit([Write(KEYS.path(), encode(row), entry.revision if entry is not None else 0)])
