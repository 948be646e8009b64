"""What only one backend does: owning a file, losing a server, speaking TLS."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from etcd3 import etcdrpc as rpc

from tests.contract.store_servers import EtcdServer, collect, load, values
from tests.ports import free_port
from towline.hub.store import connect
from towline.hub.store.contract import (
    Change,
    Compacted,
    Conflict,
    Fenced,
    Row,
    Store,
    TooLarge,
    Unavailable,
    Write,
)
from towline.hub.store.etcd import EtcdStore
from towline.hub.store.memory import MemoryStore
from towline.hub.store.sqlite import SqliteStore

A, B = (f"/towline/core/configmaps/default/{name}" for name in "ab")


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Any]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory", MemoryStore),
        ("sqlite", SqliteStore),
        ("sqlite:///somewhere/hub.sqlite", SqliteStore),
        ("etcd://one:2379,two:2379", EtcdStore),
        ("http://one:2379,http://two:2379", EtcdStore),
        ("https://one:2379", EtcdStore),
    ],
)
def test_a_url_names_a_store(url: str, kind: type, tmp_path: Path) -> None:
    assert type(connect(url, data_dir=tmp_path)) is kind


@pytest.mark.parametrize("url", ["", "postgres://host", "memory://something", "sqlite"])
def test_a_url_that_names_none(url: str) -> None:
    with pytest.raises(ValueError):
        connect(url)


async def test_memory_keeps_the_last_commits_only() -> None:
    store = MemoryStore(commits_max=8)
    revision = 0
    for _ in range(20):
        revision = await store.commit([Write(A, b"x", revision)])
    with pytest.raises(Compacted):
        await anext(store.changes(revision - 11))
    assert len(await collect(store.changes(revision - 8), revision)) == 8


# --- sqlite --------------------------------------------------------------------------------------------------


async def test_a_second_hub_on_the_same_file_is_told_what_to_do(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "hub.sqlite")) as first:
        with pytest.raises(Unavailable, match=r"Another hub uses .*hub\.sqlite; stop it"):
            await SqliteStore(tmp_path / "hub.sqlite").open()
        await first.commit([Write(A, b"1", 0)])
    async with opened(SqliteStore(tmp_path / "hub.sqlite")) as second:
        assert await values(second) == {A: b"1"}


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "made" / "hub.sqlite")) as store:
        await store.commit([Write(A, b"a secret", 0)])
        for file in (tmp_path / "made").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_file_that_is_no_store_or_a_newer_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and longer than a header of one hundred bytes " * 4)
    with pytest.raises(Unavailable, match="not a usable store"):
        await SqliteStore(tmp_path / "text").open()
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(Unavailable, match="newer Towline"):
        await SqliteStore(tmp_path / "newer").open()
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be opened"):
        await SqliteStore(tmp_path / "file" / "hub.sqlite").open()


async def test_sqlite_revisions_go_on_after_a_restart_and_older_changes_are_compacted(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "hub.sqlite")) as store:
        one = await store.commit([Write(A, b"1", 0)])
        two = await store.commit([Write(A, None, one)])
        lease = await store.acquire("leader", "me", 5.0)
    async with opened(SqliteStore(tmp_path / "hub.sqlite")) as store:
        assert await load(store) == (two, [])
        with pytest.raises(Compacted):
            await anext(store.changes(one))
        with pytest.raises(Fenced):
            await store.commit([Write(A, b"2", 0)], fence=lease)
        assert (await store.acquire("leader", "me", 5.0)).token != lease.token
        assert await store.commit([Write(A, b"2", 0)]) > two


async def test_in_a_group_only_the_commit_that_conflicts_fails(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "hub.sqlite")) as store:
        commits = [store.commit([Write(f"{A}{i // 2}", b"%d" % i, 0)]) for i in range(200)]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert all(isinstance(outcome, int) for outcome in outcomes[::2])
        assert all(isinstance(outcome, Conflict) for outcome in outcomes[1::2])
        assert await values(store) == {f"{A}{i // 2}": b"%d" % i for i in range(0, 200, 2)}


async def test_a_group_keeps_the_last_state_of_each_key(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.sqlite")
    async with opened(store):
        one = await store.commit([Write(A, b"1", 0), Write(B, b"1", 0)])
        # Sent together, so carried out in one transaction: each is decided on what the one before left.
        writes = [Write(A, None, one), Write(A, b"2", 0), Write(B, b"2", one), Write(B, None, one + 3)]
        outcomes = await asyncio.gather(*(store.commit([write]) for write in writes))
        assert outcomes == [one + 1, one + 2, one + 3, one + 4]
        assert await values(store) == {A: b"2"}
    async with opened(store):
        assert await load(store) == (one + 4, [Row(A, b"2", one + 2)])


async def test_a_disk_that_fails_refuses_the_group_and_the_store_goes_on(tmp_path: Path) -> None:
    async with opened(SqliteStore(tmp_path / "hub.sqlite")) as store:
        one = await store.commit([Write(A, b"1", 0)])
        file = store._file
        (pages,) = file._connection.execute("PRAGMA page_count").fetchone()
        file._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Unavailable, match="full") as refused:
            await store.commit([Write(B, b"2" * 100_000, 0)])
        assert not refused.value.maybe_committed
        file._connection.execute("PRAGMA max_page_count = 100000")
        two = await store.commit([Write(B, b"2" * 100_000, 0), Write(A, None, one)])
        assert two == one + 1
        assert await collect(store.changes(one), two) == [
            Change(B, b"2" * 100_000, two),
            Change(A, None, two),
        ]
        assert list(await values(store)) == [B]


# --- etcd ----------------------------------------------------------------------------------------------------


async def test_the_next_member_is_used_when_one_does_not_answer(etcd: EtcdServer) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    async with opened(EtcdStore([dead, etcd.url], prefix="/failover")) as store:
        revision = await store.commit([Write(A, b"1", 0)])
        follower = store.changes(revision - 1)
        assert await anext(follower) == [Change(A, b"1", revision)]
        store._used = 0  # as after a failure of the second
        await store.commit([Write(A, b"2", revision)])
        await follower.aclose()


async def test_no_member_at_all_is_surely_not_committed() -> None:
    with pytest.raises(Unavailable, match="cannot be reached") as refused:
        await EtcdStore([f"127.0.0.1:{free_port()}" for _ in range(2)]).open()
    assert not refused.value.maybe_committed


async def test_several_stores_in_one_etcd_do_not_see_each_other(etcd: EtcdServer) -> None:
    async with (
        opened(EtcdStore([etcd.url], prefix="/one")) as one,
        opened(EtcdStore([etcd.url], prefix="/two")) as two,
    ):
        await one.commit([Write(A, b"1", 0)])
        assert await values(two) == {}
        assert await one.acquire("leader", "me", 5.0) and await two.acquire("leader", "they", 5.0)
        assert await values(one) == {A: b"1"}


async def test_a_store_that_went_back_in_time_says_so(etcd: EtcdServer) -> None:
    """As after a restored backup: waiting for revisions that come again would show the old rows for ever."""
    async with opened(EtcdStore([etcd.url], prefix="/past")) as store:
        revision, _ = await load(store)
        with pytest.raises(Compacted):
            await anext(store.changes(revision + 1000))


class Troubled(rpc.KVServicer):  # type: ignore[misc]
    """An etcd that answers reads, and fails transactions as it is told to."""

    def __init__(self, code: grpc.StatusCode | None, details: str) -> None:
        self.code, self.details = code, details
        self.transactions = 0

    async def Range(self, request: Any, context: Any) -> Any:
        return rpc.RangeResponse()

    async def Txn(self, request: Any, context: Any) -> Any:
        self.transactions += 1
        if self.code is None:
            await asyncio.Event().wait()
        await context.abort(self.code, self.details)


@pytest.mark.parametrize(
    ("code", "details", "maybe"),
    [
        (None, "no answer in time", True),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out", True),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", True),
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: leader changed", True),
        (grpc.StatusCode.INTERNAL, "stream terminated", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", False),
        (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", False),
    ],
)
async def test_a_commit_of_unknown_outcome_says_so_and_is_sent_once(
    code: grpc.StatusCode | None, details: str, maybe: bool
) -> None:
    troubled, server = Troubled(code, details), grpc.aio.server()
    rpc.add_KVServicer_to_server(troubled, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        urls = [f"http://127.0.0.1:{port}"] * (2 if maybe else 1)
        async with opened(EtcdStore(urls, request_seconds=0.3)) as store:
            with pytest.raises(Unavailable) as refused:
                await store.commit([Write(A, b"1", 0)])
            assert refused.value.maybe_committed is maybe
            assert troubled.transactions == 1
    finally:
        await server.stop(grace=None)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large"),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (3 vs. 2)"),
    ],
)
async def test_what_etcd_finds_too_large(code: grpc.StatusCode, details: str) -> None:
    server = grpc.aio.server()
    rpc.add_KVServicer_to_server(Troubled(code, details), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with opened(EtcdStore([f"127.0.0.1:{port}"])) as store:
            with pytest.raises(TooLarge, match="max-request-bytes"):
                await store.commit([Write(A, b"1", 0)])
    finally:
        await server.stop(grace=None)


async def test_etcd_over_mutual_tls(tmp_path: Path) -> None:
    issue(tmp_path)
    files = [f"--cert-file={tmp_path}/server.pem", f"--key-file={tmp_path}/server.key"]
    server = EtcdServer(
        tmp_path / "data", [*files, f"--trusted-ca-file={tmp_path}/ca.pem", "--client-cert-auth"]
    )
    ca, cert, key = tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "client.key"
    try:
        server.start()
        async with opened(connect(server.url.replace("https", "etcd"), ca=ca, cert=cert, key=key)) as store:
            revision = await store.commit([Write(A, b"1", 0)])
            assert await anext(store.changes(revision - 1)) == [Change(A, b"1", revision)]
        with pytest.raises(Unavailable):
            await EtcdStore([server.url], ca=ca).open()  # without a certificate of our own
        with pytest.raises(Unavailable, match=r"missing\.pem cannot be read"):
            await EtcdStore([server.url], ca=tmp_path / "missing.pem").open()
    finally:
        server.kill()


def issue(directory: Path) -> None:
    """A CA, and a certificate of it for a server on loopback and for a client."""
    now = datetime.now(UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    # The hub leaves grpc no cipher of TLS 1.2 for a server with an elliptic key (see towline.hub), and this old etcd
    # does not speak 1.3.
    server_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    keys: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {
        "ca": ca_key,
        "server": server_key,
        "client": ec.generate_private_key(ec.SECP256R1()),
    }
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    for name in ("ca", "server", "client"):
        key = keys[name]
        subject = ca_name if name == "ca" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(ca_name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(minutes=5)).not_valid_after(
            now + timedelta(hours=1)
        )
        builder = builder.add_extension(
            x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True
        )
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        certificate = builder.add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
        (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (directory / f"{name}.key").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))


async def test_a_call_that_grpc_cancels_is_a_failure_and_not_the_callers_wish() -> None:
    """grpc raises CancelledError when a connection breaks: taken for a cancellation, nobody would answer the client."""
    store = EtcdStore(["http://127.0.0.1:1"])

    class Broken:
        async def __call__(self, request: object, timeout: float) -> object:
            raise asyncio.CancelledError

    store._members = [SimpleNamespace(kv=None)]  # type: ignore[list-item]
    with pytest.raises(Unavailable, match="broke off") as caught:
        await store._write(lambda member: Broken(), object())
    assert caught.value.maybe_committed
