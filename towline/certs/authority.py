"""The certificate authority of a hub: its key, and the leaves it signs.

All keys are P-256. The subject of a leaf is always chosen here; a signing request gives a public key and the proof that
the asker has the private one, nothing else. `now` is epoch seconds.
"""

from __future__ import annotations

import ipaddress
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
SERVER_DAYS = 365
ADMIN_DAYS = 365
AGENT_SECONDS = 7 * 86_400
AGENTS_ORGANIZATION = "system:towline:agents"
AGENT_PREFIX = "system:towline:agent:"
HUB_DAYS = 2
"""A hub makes itself a new one every day."""
HUBS_ORGANIZATION = "system:towline:hubs"
HUB_PREFIX = "system:towline:hub:"
ADMIN_NAME = "admin"
MASTERS_ORGANIZATION = "system:masters"
_SKEW = timedelta(minutes=5)
"""Leaves begin to be valid this long ago, because a member's clock may lag."""
_CLUSTER_URI = "towline://cluster/"
_UNREADABLE = (
    ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion, x509.ExtensionNotFound,
    x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""All that `cryptography` raises at what strangers sent."""
_GENERATION = re.compile(r"[1-9][0-9]{0,8}")


class CertificateError(Exception):
    """A request, key or certificate that is not acceptable; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate and its key, as PEM."""

    certificate_pem: bytes
    key_pem: bytes

    @property
    def not_after(self) -> float:
        """When it ends, in epoch seconds."""
        return x509.load_pem_x509_certificate(self.certificate_pem).not_valid_after_utc.timestamp()


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Who an agent's certificate says it is: the cluster's name, the uid of the Cluster object that it was
    enrolled for (so that a certificate from before a detach is of no use for a cluster of the same name), and how many
    times that cluster's certificates had been revoked before (so that those from before are of no use either)."""

    cluster: str
    cluster_object_uid: str
    generation: int = 0


class Authority:
    """A CA: certificate and key. Make one with `create` or `load`."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @cached_property
    def bundle_pem(self) -> bytes:
        """What to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of(self.certificate)

    @cached_property
    def key_id(self) -> str:
        """What `issuer_of` says of its leaves."""
        return _key_id(self._key.public_key())

    @property
    def key_pem(self) -> bytes:
        """Whoever has it is this authority."""
        return key_pem(self._key)

    def issue_server(self, hosts: Sequence[str], now: float, days: int = SERVER_DAYS) -> Leaf:
        """A leaf with a new key for an API or gateway that is reached under these host names and addresses."""
        key = new_key()
        names = dict.fromkeys(hosts)
        sans = x509.SubjectAlternativeName([_general_name(host) for host in names])
        subject = _subject("towline-hub", ())
        life = timedelta(days=days)
        pem = self._sign(subject, key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH, sans, now, life)
        return Leaf(pem, key_pem(key))

    def issue_admin(self, now: float, days: int = ADMIN_DAYS) -> Leaf:
        """A leaf with a new key for the administrator."""
        key = new_key()
        pem = self.issue_client(ADMIN_NAME, (MASTERS_ORGANIZATION,), key.public_key(), now, days)
        return Leaf(pem, key_pem(key))

    def issue_hub(self, hub: str, now: float) -> Leaf:
        """A leaf with a new key for the hub of this id, which it shows to the other hubs on its store."""
        key = new_key()
        pem = self.issue_client(HUB_PREFIX + hub, (HUBS_ORGANIZATION,), key.public_key(), now, HUB_DAYS)
        return Leaf(pem, key_pem(key))

    def issue_agent(
        self,
        identity: AgentIdentity,
        public_key: ec.EllipticCurvePublicKey,
        now: float,
        seconds: int = AGENT_SECONDS,
    ) -> bytes:
        """The leaf (PEM) of a cluster's agent, good for so many seconds."""
        uri = f"{_CLUSTER_URI}{identity.cluster}/{identity.cluster_object_uid}"
        if identity.generation:
            uri += f"/{identity.generation}"
        sans = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        subject = _subject(AGENT_PREFIX + identity.cluster, (AGENTS_ORGANIZATION,))
        life = timedelta(seconds=seconds)
        return self._sign(subject, public_key, ExtendedKeyUsageOID.CLIENT_AUTH, sans, now, life)

    def issue_client(
        self,
        name: str,
        organizations: Sequence[str],
        public_key: ec.EllipticCurvePublicKey,
        now: float,
        days: int,
    ) -> bytes:
        """A client leaf (PEM): Kubernetes reads the common name as the user and the organizations as its groups."""
        subject = _subject(name, organizations)
        life = timedelta(days=days)
        return self._sign(subject, public_key, ExtendedKeyUsageOID.CLIENT_AUTH, None, now, life)

    def save(self, directory: Path) -> None:
        """Write ca.crt and ca.key (mode 0600) into `directory`."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(directory / "ca.key", key_pem(self._key))
        (directory / "ca.crt").write_bytes(self.bundle_pem)

    def _sign(
        self,
        subject: x509.Name,
        public_key: ec.EllipticCurvePublicKey,
        usage: x509.ObjectIdentifier,
        sans: x509.SubjectAlternativeName | None,
        now: float,
        life: timedelta,
    ) -> bytes:
        begins, ends = _life(now, life)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(min(ends, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if sans is not None:
            builder = builder.add_extension(sans, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def create(now: float, days: int = CA_DAYS) -> Authority:
    """A new CA, in memory."""
    key = new_key()
    # Two authorities of one hub overlap in a rotation: with a name of its own for each, whoever builds a chain finds the right one.
    name = _subject(f"towline-ca-{_key_id(key.public_key())[:12]}", ())
    begins, ends = _life(now, timedelta(days=days))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def load(directory: Path) -> Authority:
    """The CA that `save` wrote. Raises FileNotFoundError when there is none, CertificateError when it is damaged."""
    pem, key = (directory / "ca.crt").read_bytes(), (directory / "ca.key").read_bytes()
    return of_pem(pem, key, f"the CA in {directory}")


def of_pem(pem: bytes, key: bytes, what: str = "the CA") -> Authority:
    """A CA from its certificate and key. Raises CertificateError, in which `what` names it."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        private = serialization.load_pem_private_key(key, password=None)
    except ValueError as error:
        raise CertificateError(f"{what} cannot be read: {error}") from None
    if (
        not isinstance(private, ec.EllipticCurvePrivateKey)
        or private.public_key() != certificate.public_key()
    ):
        raise CertificateError(f"{what} has a key that is not its certificate's")
    return Authority(certificate, private)


def given(directory: Path) -> Authority | None:
    """The CA in `directory`; None when there is none. Raises CertificateError for one that is damaged or not whole."""
    try:
        return load(directory)
    except FileNotFoundError:
        present = [name for name in ("ca.crt", "ca.key") if (directory / name).exists()]
        if present == ["ca.crt"]:
            raise CertificateError(f"{directory}/ca.key is missing beside ca.crt; restore it") from None
        # a lone key is a first start that was interrupted: nobody has seen its certificate
        return None


def load_or_create(directory: Path, now: float) -> Authority:
    """The CA in `directory`, made at the first start. A damaged one is never replaced: CertificateError."""
    authority = given(directory)
    if authority is None:
        authority = create(now)
        authority.save(directory)
    return authority


# --- keys, requests, certificates ------------------------------------------------------------------------------


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises CertificateError for what is not a P-256 private key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"this is not a private key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("this is not an elliptic curve key")
    return key


def request_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A signing request for `key`; it names nobody, because the hub chooses the subject."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def public_key_of_request(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a signing request whose signature proves that the asker has the private one. Raises
    CertificateError. The request's subject and extensions are ignored."""
    try:
        request = x509.load_pem_x509_csr(pem)
        valid = request.is_signature_valid
        key = request.public_key()
    except _UNREADABLE:
        raise CertificateError("this is not a certificate signing request in PEM") from None
    if not valid:
        raise CertificateError("the signing request's signature is not by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("the signing request's key is not a P-256 key")
    return key


def public_key_hash(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key, hexadecimal: tells a retry from a second asker."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()


def public_key_of(pem: bytes) -> object:
    """Of a certificate. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(pem).public_key()
    except _UNREADABLE:
        raise CertificateError("this is not a certificate in PEM") from None


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate's DER, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def bundle_of(pem: bytes) -> dict[str, bytes]:
    """The certificates in `pem`, one at least: fingerprint to PEM. Raises CertificateError."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except _UNREADABLE:
        raise CertificateError("this is not a certificate in PEM") from None
    return {fingerprint_of(each): each.public_bytes(serialization.Encoding.PEM) for each in found}


def issuer_of(pem: bytes) -> str:
    """Which authority signed a leaf: its `key_id`; "" for a certificate that does not say. Raises CertificateError."""
    try:
        extensions = x509.load_pem_x509_certificate(pem).extensions
        found = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return ""
    except _UNREADABLE:
        raise CertificateError("this is not a certificate in PEM") from None
    return (found.key_identifier or b"").hex()


def ends_at(pem: bytes) -> float:
    """When the certificate ends, in epoch seconds. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    except _UNREADABLE:
        raise CertificateError("this is not a certificate in PEM") from None


def agent_identity(pem: bytes) -> AgentIdentity:
    """Who an agent's leaf says it is. Raises CertificateError for any other certificate.

    The caller has verified the chain; subject and URI must say the same cluster."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        raise CertificateError("this is not an agent's certificate") from None
    with _long_names():
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    uris = sans.get_values_for_type(x509.UniformResourceIdentifier)
    name = names[0].value if len(names) == 1 else ""
    if (
        not isinstance(name, str)
        or not name.startswith(AGENT_PREFIX)
        or [group.value for group in groups] != [AGENTS_ORGANIZATION]
        or len(uris) != 1
    ):
        raise CertificateError("this is not an agent's certificate")
    cluster = name.removeprefix(AGENT_PREFIX)
    prefix = f"{_CLUSTER_URI}{cluster}/"
    uid, slash, generation = uris[0].removeprefix(prefix).partition("/")
    if not cluster or not uid or not uris[0].startswith(prefix):
        raise CertificateError("this agent's certificate contradicts itself")
    if slash and not _GENERATION.fullmatch(generation):
        raise CertificateError("this is not an agent's certificate")
    return AgentIdentity(cluster, uid, int(generation or 0))


def renew_at(certificate_pem: bytes) -> float:
    """When a leaf is to be renewed: at two thirds of its life, in epoch seconds."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    begins, ends = certificate.not_valid_before_utc + _SKEW, certificate.not_valid_after_utc
    return (begins + (ends - begins) * 2 / 3).timestamp()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _subject(name: str, organizations: Sequence[str]) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    with _long_names():
        return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)])


@contextmanager
def _long_names() -> Iterator[None]:
    """X.520 bounds common names at 64 characters. An agent's prefix and a cluster's name of up to 48 need 69, which every TLS
    library takes, and `cryptography` with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Attribute's length must be", category=UserWarning)
        yield


def _key_id(key: ec.EllipticCurvePublicKey) -> str:
    return x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _life(now: float, life: timedelta) -> tuple[datetime, datetime]:
    at = datetime.fromtimestamp(now, UTC)
    return at - _SKEW, at + life


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
