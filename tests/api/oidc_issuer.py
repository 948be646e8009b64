"""An OpenID Connect issuer over TLS, which tests run themselves."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from towline.certs import authority
from towline.hub.api.oidc import DISCOVERY_PATH, OidcIssuer
from towline.hub.config import OidcConfig

NOW = 1_800_000_000.0
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


@dataclass
class Issuer:
    """A running issuer. `keys` is what it publishes; `asked` counts how often somebody looked."""

    url: str = ""
    ca_pem: str = ""
    keys: dict[str, Any] = field(default_factory=lambda: {"one": RSA})
    calls_itself: str = ""
    asked: int = 0
    elapsed: float = 0.0

    def config(self, **fields: Any) -> OidcConfig:
        return replace(OidcConfig(self.url, "towline", ca_pem=self.ca_pem), **fields)

    def verifier(self, **fields: Any) -> OidcIssuer:
        return OidcIssuer(self.config(**fields), now=lambda: NOW, elapsed=lambda: self.elapsed)

    def token(self, key: Any = RSA, kid: str = "one", algorithm: str = "RS256", **claims: Any) -> str:
        said = {"iss": self.url, "aud": "towline", "sub": "ann", "exp": NOW + 60, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid})

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"issuer": self.calls_itself or self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, request: web.Request) -> web.Response:
        rows: list[dict[str, Any]] = [{"kty": "strange", "kid": "strange"}]
        for kid, key in self.keys.items():
            algorithm = jwt.algorithms.ECAlgorithm if key is EC else jwt.algorithms.RSAAlgorithm
            rows.append({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"})
        return web.json_response({"keys": rows})


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Issuer]:
    made = Issuer()
    ca = authority.create(1_700_000_000.0)
    leaf = ca.issue_server(["127.0.0.1"], 1_780_000_000.0, 3650)
    pair = folder / "pair.pem"
    pair.write_bytes(leaf.certificate_pem + leaf.key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair)
    app = web.Application()
    app.router.add_get(DISCOVERY_PATH, made.discovery)
    app.router.add_get("/keys", made.jwks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    made.ca_pem = ca.bundle_pem.decode()
    yield made
    await runner.cleanup()
