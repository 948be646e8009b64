"""The hashes and digests of the session protocol: how two sides find out where they differ.

All hashes are the first 16 bytes of a SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

BUCKETS = 256
HASH_BYTES = 16
EMPTY_DIGEST = bytes(HASH_BYTES)


def hash_parts(*parts: bytes) -> bytes:
    """A hash of `parts` that no other sequence of parts has (each is preceded by its length)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()[:HASH_BYTES]


def work_hash(
    manifests: Sequence[bytes], conflict: int, preserve: bool, stop_after_seconds: int = 0
) -> bytes:
    """What a Work says, whatever its uid and revision. One that is never stopped hashes as before there was such a thing."""
    stop = stop_after_seconds.to_bytes(4, "big") if stop_after_seconds else b""
    return hash_parts(bytes([conflict, preserve]) + stop, *manifests)


def report_hash(phase: int, message: str, statuses: Iterable[tuple[str, bytes]]) -> bytes:
    """What a report says. `statuses` are (health, canonical JSON of the status or b"") in manifest order.

    Both sides compute it from their own copy: the agent from what it observed, the hub from what it stored. Canonical
    JSON is orjson with OPT_SORT_KEYS."""
    parts = [bytes([phase]), message.encode()]
    for health, status in statuses:
        parts += [health.encode(), status]
    return hash_parts(*parts)


def entry_digest(name: str, uid: str, work: bytes, report: bytes) -> bytes:
    return hash_parts(name.encode(), uid.encode(), work, report)


def bucket_of(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0]


class Digests:
    """256 bucket digests, kept up to date in O(1) a change: XOR an entry's digest in, XOR it out again."""

    __slots__ = ("_buckets", "_entries")

    def __init__(self) -> None:
        self._buckets = [0] * BUCKETS
        self._entries: dict[str, int] = {}

    def put(self, name: str, uid: str, work: bytes, report: bytes) -> None:
        self.remove(name)
        value = int.from_bytes(entry_digest(name, uid, work, report), "big")
        self._entries[name] = value
        self._buckets[bucket_of(name)] ^= value

    def remove(self, name: str) -> None:
        value = self._entries.pop(name, None)
        if value is not None:
            self._buckets[bucket_of(name)] ^= value

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        return list(self._entries)

    def pack(self) -> bytes:
        """The wire form: 256 x 16 bytes."""
        return b"".join(value.to_bytes(HASH_BYTES, "big") for value in self._buckets)

    def differing(self, packed: bytes) -> list[int]:
        """The buckets where `packed` differs from ours. Raises ValueError when it has the wrong length."""
        if len(packed) != BUCKETS * HASH_BYTES:
            raise ValueError(f"{len(packed)} bytes of digests, expected {BUCKETS * HASH_BYTES}")
        theirs = (packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES))
        return [
            i
            for i, (ours, other) in enumerate(zip(self._buckets, theirs, strict=True))
            if ours.to_bytes(HASH_BYTES, "big") != other
        ]
