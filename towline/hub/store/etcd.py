"""The store in etcd: what a real hub uses, and what several hubs share.

A small asyncio client over grpc.aio; the wire types are those of the `etcd3` package. An etcd revision is the store's
revision. Rows are under `/towline/`, leases under `/towline-leases/`. The etcd server must run with
`--max-request-bytes=10485760`, or objects of more than about 1.5 MiB are refused with TooLarge. It must be 3.5.9 or
later: 3.5.0 to 3.5.2 lose acknowledged commits when they are killed, and a single member does before 3.5.5.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc
from etcd3 import etcdrpc as rpc

from towline import cancellation
from towline.hub.store.contract import (
    Change,
    Compacted,
    Conflict,
    Fenced,
    Lease,
    Row,
    StoreError,
    TooLarge,
    Unavailable,
    Write,
    check_writes,
)
from towline.kube.objects import STORE_PREFIX

log = logging.getLogger(__name__)

LEASES_PREFIX = "/towline-leases/"

_PAGE_BYTES = 4 * 1024 * 1024
_PAGE_ROWS = (16, 200, 2000)
"""The least, the first and the most rows in a page."""
_CLOSE_SECONDS = 2.0
_BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_WATCH_METADATA = (("hasleader", "true"),)
"""A member that is cut off from its cluster must end our watch instead of keeping it, silent."""
_CHANNEL_OPTIONS = (
    (
        "grpc.max_receive_message_length",
        -1,
    ),  # a watch that catches up gets up to 1000 revisions in one message
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 3000),  # how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 1000),
    (
        "grpc.keepalive_time_ms",
        10_000,
    ),  # etcd cuts off who pings more often than every 5 s, or without a call
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # what counts in grpc 1.85; a minute if it is not set
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
)
_NOT_SENT = ("failed to connect", "DNS resolution failed", "empty address list")
"""How grpc begins its report of a request that never left this process."""
_REFUSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)

_Method: TypeAlias = "Callable[[_Member], Callable[..., Awaitable[Any]]]"


class EtcdStore:
    """`endpoints` are URLs (`https://host:2379`, `http://…` or `host:2379`) of one cluster's members; one is used, the
    next when it fails. `ca`, `cert` and `key` are PEM files. `prefix` stands before every key, for an etcd that
    others use too. `sleep` is for the backoff of `changes`."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        prefix: str = "",
        request_seconds: float = 10.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not endpoints:
            raise ValueError("no etcd endpoints")
        self._urls = tuple(endpoints)
        self._pem_files = (ca, cert, key)
        self._prefix = prefix.encode()
        self._request_seconds = request_seconds
        self._sleep = sleep
        self._members: list[_Member] = []
        self._used = 0
        """Which member is in use."""
        self._watching: set[Any] = set()
        self._lease_ids: dict[Lease, int] = {}

    async def open(self) -> None:
        """Raises Unavailable when no member answers."""
        if self._members:
            return
        try:
            ca, cert, key = (None if path is None else path.read_bytes() for path in self._pem_files)
        except OSError as error:
            raise Unavailable(f"{error.filename} cannot be read ({error.strerror}).") from error
        self._members = [_Member(url, ca, cert, key) for url in self._urls]
        try:
            await self._read(_get, rpc.RangeRequest(key=self._at(STORE_PREFIX)))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        members, self._members = self._members, []
        for call in list(self._watching):
            call.cancel()
        for member in members:
            await member.channel.close(grace=_CLOSE_SECONDS)

    # --- rows ------------------------------------------------------------------------------------------------

    async def load(self) -> AsyncGenerator[tuple[int, list[Row]], None]:
        start, end = self._range(STORE_PREFIX)
        revision, (rows_min, limit, rows_max) = 0, _PAGE_ROWS
        more = True
        while more:
            page = await self._read(
                _get,
                rpc.RangeRequest(key=start, range_end=end, limit=limit, revision=revision),
            )
            revision, more = revision or page.header.revision, page.more
            cut = len(self._prefix)
            yield revision, [Row(kv.key[cut:].decode(), kv.value, kv.mod_revision) for kv in page.kvs]
            if more:
                start = page.kvs[-1].key + b"\0"
                mean = page.ByteSize() // len(page.kvs) + 1
                limit = max(rows_min, min(rows_max, _PAGE_BYTES // mean))

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        check_writes(writes)
        request = rpc.TxnRequest()
        for key, value, expected in writes:
            at = self._at(key)
            request.compare.append(_compare(at, mod_revision=expected))
            if value is None:
                request.success.add().request_delete_range.key = at
            else:
                put = request.success.add().request_put
                put.key, put.value = at, value
            _look(request, at)
        if fence is not None:
            at = self._at(LEASES_PREFIX + fence.name)
            request.compare.append(_compare(at, create_revision=fence.token))
            _look(request, at)
        answer = await self._write(_txn, request)
        if answer.succeeded:
            return int(answer.header.revision)
        found = [op.response_range.kvs for op in answer.responses]
        if fence is not None:
            held = found.pop()
            if not held or held[0].create_revision != fence.token:
                raise Fenced(f"{fence.holder} does not hold the lease {fence.name} any more")
        raise Conflict(
            [
                write.key
                for write, kvs in zip(writes, found, strict=True)
                if (kvs[0].mod_revision if kvs else 0) != write.expected
            ]
        )

    async def changes(self, after: int) -> AsyncGenerator[list[Change], None]:
        failures = 0
        while self._members:
            member = self._member()
            failure: object = "the watch ended"
            try:
                await self._check_kept(after)
                member = self._member()
                async with aclosing(self._watch(member, after)) as answers:
                    async for events, revision in answers:
                        if failures:
                            log.info("etcd's changes flow again, from revision %d on", after + 1)
                            failures = 0
                        after = revision
                        if events:
                            yield events
            except Unavailable as unavailable:
                failure = unavailable
            if not self._members:
                return
            if not failures:
                log.warning("etcd's changes stopped after revision %d, trying again: %s", after, failure)
            self._leave(member)
            await self._sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
            failures += 1

    async def compact(self, revision: int) -> None:
        try:
            await self._write(lambda member: member.kv.Compact, rpc.CompactionRequest(revision=revision))
        except Compacted:
            pass  # by another hub

    # --- leases ----------------------------------------------------------------------------------------------

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        at = self._at(LEASES_PREFIX + name)
        found = await self._read(_get, rpc.RangeRequest(key=at))
        for kv in found.kvs:
            if kv.value.decode() != holder:
                return None
            await self._revoke(kv.lease)
        granted = await self._write(
            lambda member: member.leases.LeaseGrant, rpc.LeaseGrantRequest(TTL=math.ceil(ttl_seconds))
        )
        request = rpc.TxnRequest(compare=[_compare(at, create_revision=0)])
        put = request.success.add().request_put
        put.key, put.value, put.lease = at, holder.encode(), granted.ID
        try:
            answer = await self._write(_txn, request)
        except _NotFound:
            return None  # it took so long that the new lease is over already
        if not answer.succeeded:
            await self._revoke(granted.ID)
            return None
        lease = Lease(name, holder, answer.header.revision)
        self._lease_ids[lease] = granted.ID
        return lease

    async def renew(self, lease: Lease, ttl_seconds: float) -> None:
        lease_id = await self._lease_id(lease)
        member = self._member()
        request = rpc.LeaseKeepAliveRequest(ID=lease_id)
        call = member.leases.LeaseKeepAlive(iter([request]), timeout=self._request_seconds)
        try:
            answer = await call.read()
        except grpc.aio.AioRpcError as error:
            self._leave(member)
            raise _store_error(error) from error
        except asyncio.CancelledError:
            if cancellation.is_wished():
                raise
            raise Unavailable("etcd broke off the renewal of a lease.") from None
        finally:
            call.cancel()
        if answer is grpc.aio.EOF:
            raise Unavailable("etcd answered nothing to the renewal of a lease.")
        if answer.TTL <= 0:
            self._lease_ids.pop(lease, None)
            raise Fenced(f"{lease.holder} does not hold the lease {lease.name} any more")

    async def release(self, lease: Lease) -> None:
        with suppress(Fenced):
            await self._revoke(await self._lease_id(lease))
        self._lease_ids.pop(lease, None)

    async def _lease_id(self, lease: Lease) -> int:
        known = self._lease_ids.get(lease)
        if known is not None:
            return known
        at = self._at(LEASES_PREFIX + lease.name)
        found = await self._read(_get, rpc.RangeRequest(key=at))
        for kv in found.kvs:
            if kv.create_revision == lease.token:
                return int(kv.lease)
        raise Fenced(f"{lease.holder} does not hold the lease {lease.name} any more")

    async def _revoke(self, lease_id: int) -> None:
        with suppress(_NotFound):
            await self._write(lambda member: member.leases.LeaseRevoke, rpc.LeaseRevokeRequest(ID=lease_id))

    # --- watching --------------------------------------------------------------------------------------------

    async def _check_kept(self, after: int) -> None:
        """Raises Compacted unless etcd still has every change above `after`.

        A read at that revision tells it, also where a watch would not: a deletion in the very revision that was
        compacted is lost without a word, and a restored backup knows `after` only as the future."""
        at = self._at(STORE_PREFIX)
        await self._read(_get, rpc.RangeRequest(key=at, revision=max(after, 1), keys_only=True))

    async def _watch(self, member: _Member, after: int) -> AsyncGenerator[tuple[list[Change], int], None]:
        """Changes above `after`, and the revision to resume after. Ends, or raises Unavailable, when it breaks."""
        start, end = self._range(STORE_PREFIX)
        call = member.watches.Watch(metadata=_WATCH_METADATA)
        self._watching.add(call)
        try:
            create = rpc.WatchCreateRequest(
                key=start, range_end=end, start_revision=after + 1, progress_notify=True
            )
            await call.write(rpc.WatchRequest(create_request=create))
            while (answer := await call.read()) is not grpc.aio.EOF:
                if answer.compact_revision:
                    raise Compacted(
                        f"changes after {after} are gone, etcd is compacted at {answer.compact_revision}"
                    )
                if answer.canceled:
                    raise Unavailable(f"etcd ended the watch: {answer.cancel_reason}")
                if answer.events:
                    # Not the header's revision: while a watch catches up that is the store's, and events would be lost.
                    after = answer.events[-1].kv.mod_revision
                    yield [self._change(event) for event in answer.events], after
                elif answer.created:
                    yield [], after
                else:
                    after = max(after, answer.header.revision)  # nothing happened to our rows up to here
                    yield [], after
        except grpc.aio.AioRpcError as error:
            raise _store_error(error) from error
        except asyncio.InvalidStateError as error:  # written to after the peer went away
            raise Unavailable("etcd ended the watch.") from error
        except asyncio.CancelledError:
            if cancellation.is_wished():
                raise
            if self._members:
                raise Unavailable("etcd broke off the watch.") from None
        finally:
            self._watching.discard(call)
            call.cancel()

    def _change(self, event: Any) -> Change:
        kv = event.kv
        deleted = event.type == event.DELETE
        return Change(kv.key[len(self._prefix) :].decode(), None if deleted else kv.value, kv.mod_revision)

    # --- requests --------------------------------------------------------------------------------------------

    async def _read(self, method: _Method, request: Any) -> Any:
        """A request that may be repeated: every member is tried."""
        return await self._send(method, request, again=lambda failure: True)

    async def _write(self, method: _Method, request: Any) -> Any:
        """A request that must not be carried out twice: the next member is tried only if nothing was sent."""
        return await self._send(method, request, again=lambda failure: not failure.maybe_committed)

    async def _send(self, method: _Method, request: Any, *, again: Callable[[Unavailable], bool]) -> Any:
        for attempt in range(len(self._urls)):
            member = self._member()
            try:
                return await method(member)(request, timeout=self._request_seconds)
            except grpc.aio.AioRpcError as error:
                refusal = _store_error(error)
                if not isinstance(refusal, Unavailable):
                    raise refusal from error
                self._leave(member)
                if attempt + 1 == len(self._urls) or not again(refusal):
                    raise refusal from error
            except asyncio.CancelledError:
                if cancellation.is_wished():
                    raise
                why = "etcd broke off the request." if self._members else "The store was closed meanwhile."
                self._leave(member)
                raise Unavailable(why, maybe_committed=True) from None
        raise AssertionError("unreachable")

    def _member(self) -> _Member:
        if not self._members:
            raise Unavailable("The store is closed.")
        return self._members[self._used]

    def _leave(self, member: _Member) -> None:
        """Use the next member from now on, unless another request that failed has already seen to it."""
        if self._members and self._members[self._used] is member:
            self._used = (self._used + 1) % len(self._members)

    def _at(self, key: str) -> bytes:
        return self._prefix + key.encode()

    def _range(self, prefix: str) -> tuple[bytes, bytes]:
        """First key and end of all keys that begin with `prefix`, which ends in a slash."""
        start = self._at(prefix)
        return start, start[:-1] + b"0"  # "0" is what follows "/"


class _Member:
    """One etcd server: its channel, which connects when it is first used, and its services."""

    def __init__(self, url: str, ca: bytes | None, cert: bytes | None, key: bytes | None) -> None:
        parts = urlsplit(url if "://" in url else f"{'https' if ca or cert else 'http'}://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not the URL of an etcd endpoint: {url!r}")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        target = f"{host}:{parts.port or 2379}"
        if parts.scheme == "https":
            credentials = grpc.ssl_channel_credentials(ca, key, cert)
            self.channel = grpc.aio.secure_channel(target, credentials, options=_CHANNEL_OPTIONS)
        else:
            self.channel = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self.kv = rpc.KVStub(self.channel)
        self.leases = rpc.LeaseStub(self.channel)
        self.watches = rpc.WatchStub(self.channel)


class _NotFound(StoreError):
    """etcd does not know that lease."""


def _get(member: _Member) -> Any:
    return member.kv.Range


def _txn(member: _Member) -> Any:
    return member.kv.Txn


def _store_error(error: grpc.aio.AioRpcError) -> StoreError:
    """What a failed request means. Only what surely was not carried out is not `maybe_committed`."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return Compacted(f"etcd: {details}")
    if code is grpc.StatusCode.NOT_FOUND:
        return _NotFound(details)
    if "too large" in details or "too many operations" in details or "larger than max" in details:
        return TooLarge(f"etcd: {details}; it must run with --max-request-bytes=10485760")
    if "database space exceeded" in details:
        return Unavailable("etcd is full; compact and defragment it, then disarm its NOSPACE alarm.")
    if code is grpc.StatusCode.UNAVAILABLE and details.startswith(_NOT_SENT):
        return Unavailable(
            f"etcd cannot be reached ({details}); see that it runs and that its address is right."
        )
    if code in _REFUSED:
        return Unavailable(
            f"etcd refuses the request ({details}); see to the client certificate and its rights."
        )
    return Unavailable(f"etcd failed ({code.name}: {details}).", maybe_committed=True)


def _compare(key: bytes, **field: int) -> Any:
    """`key` has this mod_revision, or this create_revision; both are 0 where there is no row."""
    target = rpc.Compare.MOD if "mod_revision" in field else rpc.Compare.CREATE
    return rpc.Compare(result=rpc.Compare.EQUAL, target=target, key=key, **field)


def _look(request: Any, key: bytes) -> None:
    """If the comparisons fail, answer how `key` stands, without its value."""
    look = request.failure.add().request_range
    look.key, look.keys_only = key, True
