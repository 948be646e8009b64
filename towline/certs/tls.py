"""The TLS of an API server: 1.3, and a client certificate where the client has one (a token or nobody may come too)."""

from __future__ import annotations

import ssl
from pathlib import Path

from towline.certs.authority import Leaf, write_private


def server_context(bundle_pem: bytes, leaf: Leaf, pair: Path) -> ssl.SSLContext:
    """Shows `leaf`, trusts clients of `bundle_pem`. `pair` is where the key goes on its way into `ssl`, mode 0600."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=bundle_pem.decode())
    write_private(pair, leaf.certificate_pem + leaf.key_pem)
    context.load_cert_chain(pair)
    return context


def client_context(bundle_pem: bytes, leaf: Leaf, pair: Path) -> ssl.SSLContext:
    """Shows `leaf`, trusts servers of `bundle_pem`; `pair` as above."""
    context = ssl.create_default_context(cadata=bundle_pem.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    write_private(pair, leaf.certificate_pem + leaf.key_pem)
    context.load_cert_chain(pair)
    return context


class ChangingTls:
    """The same, while certificate and authorities change: `context` is what a server listens with; each connection begins with
    what was shown last. (What a context trusts can grow and never shrink, so every change is a context of its own.)"""

    def __init__(self, bundle_pem: bytes, leaf: Leaf, pair: Path) -> None:
        self._pair = pair
        self._latest = self.context = server_context(bundle_pem, leaf, pair)
        # A session resumed from a ticket would not look at certificates again.
        self.context.num_tickets = 0
        self.context.sni_callback = self._begin

    def show(self, bundle_pem: bytes, leaf: Leaf) -> None:
        """New connections begin with these."""
        self._latest = server_context(bundle_pem, leaf, self._pair)

    def _begin(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._latest
