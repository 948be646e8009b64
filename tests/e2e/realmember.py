"""A real kube-apiserver (with its own etcd) as a member, the way envtest starts one.

KUBEBUILDER_ASSETS names a folder with `kube-apiserver` and `etcd`. No controllers run beside it: objects are stored, admitted and merged for real,
but nothing becomes ready.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.ports import free_port

if TYPE_CHECKING:
    from tests.e2e.harness import Fleet


def start(fleet: Fleet, name: str) -> None:
    """Starts etcd and kube-apiserver for member `name` and writes `<folder>/<name>/kubeconfig`."""
    assets = Path(os.environ["KUBEBUILDER_ASSETS"])
    folder = fleet.folder / name
    folder.mkdir(parents=True)
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd_url, peer_url = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    fleet.spawn(
        f"etcd-{name}",
        [
            str(assets / "etcd"), "--data-dir", str(folder / "etcd"), "--name", "e", "--listen-client-urls", etcd_url,
            "--advertise-client-urls", etcd_url, "--listen-peer-urls", peer_url,
            "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"e={peer_url}", "--unsafe-no-fsync",
        ],
    )  # fmt: skip
    ca_key, ca = _authority()
    server_key, server = _leaf(ca_key, ca, "kube-apiserver", "", server=True)
    admin_key, admin = _leaf(ca_key, ca, "admin", "system:masters", server=False)
    for file, content in {
        "ca.crt": _pem(ca), "server.crt": _pem(server), "server.key": _key_pem(server_key), "sa.key": _key_pem(ca_key),
    }.items():  # fmt: skip
        (folder / file).write_bytes(content)
    fleet.spawn(
        f"apiserver-{name}",
        [
            str(assets / "kube-apiserver"), "--etcd-servers", etcd_url, "--bind-address", "127.0.0.1", "--secure-port", str(port),
            "--client-ca-file", str(folder / "ca.crt"), "--tls-cert-file", str(folder / "server.crt"),
            "--tls-private-key-file", str(folder / "server.key"), "--service-account-issuer", "https://127.0.0.1",
            "--service-account-key-file", str(folder / "sa.key"), "--service-account-signing-key-file", str(folder / "sa.key"),
            "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/24",
            "--disable-admission-plugins", "ServiceAccount", "--cert-dir", str(folder / "certs"),
        ],
    )  # fmt: skip
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "default",
        "clusters": [{"name": "default", "cluster": {
            "server": f"https://127.0.0.1:{port}", "certificate-authority-data": base64.b64encode(_pem(ca)).decode()}}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": base64.b64encode(_pem(admin)).decode(),
            "client-key-data": base64.b64encode(_key_pem(admin_key)).decode()}}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "admin"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))


def _authority() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
    builder = _builder(subject, subject, key.public_key()).add_extension(
        x509.BasicConstraints(True, None), True
    )
    return key, builder.sign(key, hashes.SHA256())


def _leaf(
    ca_key: rsa.RSAPrivateKey, ca: x509.Certificate, name: str, organization: str, *, server: bool
) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(x509.Name(parts), ca.subject, key.public_key()).add_extension(
        x509.ExtendedKeyUsage([usage]), False
    )
    if server:
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return key, builder.sign(ca_key, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, public: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
