"""Writes kubeconfig files with everything in them."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from towline.certs.authority import CertificateError, Leaf, issuer_of, write_private


def admin_kubeconfig(server: str, ca_pem: bytes, leaf: Leaf, name: str = "towline") -> bytes:
    """A kubeconfig for `server` (a URL) with the client certificate `leaf`."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _encoded(ca_pem)}}
        ],
        "users": [
            {
                "name": "admin",
                "user": {
                    "client-certificate-data": _encoded(leaf.certificate_pem),
                    "client-key-data": _encoded(leaf.key_pem),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def fits(path: Path, server: str, ca_pem: bytes, issuer: str) -> bool:
    """Whether the file is a kubeconfig for `server` that trusts `ca_pem`, with a certificate of the authority `issuer`."""
    try:
        config = yaml.safe_load(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        pem = base64.b64decode(user["client-certificate-data"])
        trusted = cluster["certificate-authority-data"]
        return (cluster["server"], trusted, issuer_of(pem)) == (server, _encoded(ca_pem), issuer)
    except (OSError, ValueError, KeyError, TypeError, IndexError, yaml.YAMLError, CertificateError):
        return False


def write(path: Path, config: bytes) -> None:
    """Only the owner may read it: it holds a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, config)


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
