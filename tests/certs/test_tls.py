"""A server whose certificate and authorities change while it listens."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

from towline.certs import authority
from towline.certs.authority import Authority
from towline.certs.tls import ChangingTls

OLD, NEW = authority.create(time.time()), authority.create(time.time())


async def answer(port: int, trust: Authority, client: Authority | None, folder: Path) -> str:
    """Who the server takes a client for that trusts one authority and has a certificate of another; why it fails."""
    context = ssl.create_default_context(cadata=trust.bundle_pem.decode())
    if client is not None:
        leaf = client.issue_admin(time.time())
        (folder / "client.pem").write_bytes(leaf.certificate_pem + leaf.key_pem)
        context.load_cert_chain(folder / "client.pem")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"\n")
        told = (await reader.readline()).decode().strip()
        writer.close()
        return told or "refused"
    except ssl.SSLCertVerificationError:
        return "not trusted"
    except OSError:
        return "refused"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readline()
        writer.write(b"known\n" if writer.get_extra_info("peercert") else b"anonymous\n")
        await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def test_each_connection_begins_with_what_was_shown_last(tmp_path: Path) -> None:
    now = time.time()
    tls = ChangingTls(OLD.bundle_pem, OLD.issue_server(["127.0.0.1"], now), tmp_path / "server.pem")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls.context)
    port = server.sockets[0].getsockname()[1]

    async def clients() -> list[str]:
        pairs = [(OLD, OLD), (OLD, NEW), (OLD, None), (NEW, NEW), (NEW, OLD)]
        return [await answer(port, trust, client, tmp_path) for trust, client in pairs]

    assert await clients() == ["known", "refused", "anonymous", "not trusted", "not trusted"]
    tls.show(OLD.bundle_pem + NEW.bundle_pem, OLD.issue_server(["127.0.0.1"], now))
    assert await clients() == ["known", "known", "anonymous", "not trusted", "not trusted"]
    tls.show(NEW.bundle_pem, NEW.issue_server(["127.0.0.1"], now))
    assert await clients() == ["not trusted", "not trusted", "not trusted", "known", "refused"]
    server.close()
    assert (tmp_path / "server.pem").stat().st_mode & 0o777 == 0o600
