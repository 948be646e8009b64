"""The authority, join tokens and the admin's kubeconfig."""

from __future__ import annotations

import base64
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from towline.certs import authority, kubeconfig, tokens
from towline.certs.authority import AgentIdentity, Authority, CertificateError

NOW = 1_800_000_000.0
DAY = 86_400


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority.create(NOW)


def loaded(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def test_the_first_start_makes_a_ca_and_later_ones_load_it(tmp_path: Path) -> None:
    first = authority.load_or_create(tmp_path / "pki", NOW)
    key = tmp_path / "pki" / "ca.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert authority.load_or_create(tmp_path / "pki", NOW + DAY).fingerprint == first.fingerprint
    assert len(first.fingerprint) == 64


@pytest.mark.parametrize("damage", ["garbage key", "other key", "garbage certificate", "key gone"])
def test_a_damaged_ca_is_never_replaced(tmp_path: Path, damage: str) -> None:
    authority.load_or_create(tmp_path, NOW)
    before = (tmp_path / "ca.crt").read_bytes()
    if damage == "garbage key":
        (tmp_path / "ca.key").write_bytes(b"?")
    elif damage == "other key":
        (tmp_path / "ca.key").write_bytes(authority.key_pem(authority.new_key()))
    elif damage == "key gone":
        (tmp_path / "ca.key").unlink()
    else:
        (tmp_path / "ca.crt").write_bytes(b"?")
    with pytest.raises(CertificateError):
        authority.load_or_create(tmp_path, NOW)
    assert (tmp_path / "ca.crt").read_bytes() in (before, b"?")


def test_a_first_start_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    authority.load_or_create(tmp_path, NOW)
    (tmp_path / "ca.crt").unlink()
    assert authority.load_or_create(tmp_path, NOW).fingerprint


def test_a_server_leaf_names_hosts_and_addresses(ca: Authority) -> None:
    leaf = ca.issue_server(["hub.example", "127.0.0.1", "::1", "hub.example"], NOW)
    certificate = loaded(leaf.certificate_pem)
    sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sans.get_values_for_type(x509.DNSName) == ["hub.example"]
    assert [str(a) for a in sans.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    certificate.verify_directly_issued_by(ca.certificate)


@pytest.mark.parametrize("cluster", ["member1", "m" * 48])
def test_an_agents_leaf_says_what_the_hub_chose_for_a_week(ca: Authority, cluster: str) -> None:
    key = authority.new_key()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = authority.public_key_of_request(request.public_bytes(serialization.Encoding.PEM))
    pem = ca.issue_agent(AgentIdentity(cluster, "uid-1"), public, NOW)
    certificate = loaded(pem)
    assert authority.agent_identity(pem) == AgentIdentity(cluster, "uid-1")
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_after_utc == datetime.fromtimestamp(NOW + 7 * DAY, UTC)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(("seconds", "due"), [(60, 40), (3600, 2400), (7 * DAY, 7 * DAY * 2 / 3)])
def test_a_leaf_is_renewed_at_two_thirds_of_its_life(ca: Authority, seconds: int, due: float) -> None:
    """However short it is: what it is good for before now, so that clocks may differ, is no part of its life."""
    key = authority.new_key().public_key()
    pem = ca.issue_agent(AgentIdentity("a", "u"), key, NOW, seconds)
    assert authority.ends_at(pem) == NOW + seconds
    assert authority.renew_at(pem) == NOW + due


def test_serials_are_random(ca: Authority) -> None:
    key = authority.new_key().public_key()
    serials = {loaded(ca.issue_agent(AgentIdentity("a", "u"), key, NOW)).serial_number for _ in range(20)}
    assert len(serials) == 20


def test_a_leaf_does_not_outlive_its_ca() -> None:
    short = authority.create(NOW, days=2)
    pem = short.issue_agent(AgentIdentity("a", "u"), authority.new_key().public_key(), NOW)
    assert loaded(pem).not_valid_after_utc == short.certificate.not_valid_after_utc


def test_only_agents_certificates_are_agents(ca: Authority) -> None:
    key = authority.new_key().public_key()
    others = [
        ca.issue_admin(NOW).certificate_pem,
        ca.issue_hub("a", NOW).certificate_pem,
        ca.issue_server(["system:towline:agent:a"], NOW).certificate_pem,
        ca.issue_client("system:towline:agent:a", (authority.AGENTS_ORGANIZATION,), key, NOW, 1),
        ca.bundle_pem,
        b"garbage",
        b"",
    ]
    for pem in others:
        with pytest.raises(CertificateError):
            authority.agent_identity(pem)


def bad_requests() -> dict[str, bytes]:
    key = authority.new_key()
    good = authority.request_pem(key)
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    encoded = serialization.Encoding.PEM
    return {
        "garbage": b"garbage",
        "empty": b"",
        "signature": x509.load_der_x509_csr(bytes(der)).public_bytes(encoded),
        "rsa": builder.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(encoded),
        "p384": builder.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()).public_bytes(encoded),
    }


@pytest.mark.parametrize("which", ["garbage", "empty", "signature", "rsa", "p384"])
def test_bad_requests_are_refused(which: str) -> None:
    with pytest.raises(CertificateError):
        authority.public_key_of_request(bad_requests()[which])


def test_keys_are_read_back_and_nothing_else() -> None:
    key = authority.new_key()
    assert authority.load_key(authority.key_pem(key)).public_key() == key.public_key()
    with pytest.raises(CertificateError):
        authority.load_key(b"garbage")


# --- join tokens -------------------------------------------------------------------------------------------------

TOKEN = tokens.JoinToken("hub.example:6443", "ab" * 32, "member1", "s3cret")


def encoded(value: object) -> str:
    return tokens.PREFIX + base64.urlsafe_b64encode(orjson.dumps(value)).decode()


def test_a_token_comes_back() -> None:
    assert tokens.parse(f"  {TOKEN.encode()}\n") == TOKEN
    assert "=" not in TOKEN.encode()
    rotating = replace(TOKEN, ca=f"{'ab' * 32},{'cd' * 32}")
    assert tokens.parse(rotating.encode()) == rotating


def test_a_token_does_not_print_its_secret() -> None:
    assert "s3cret" not in repr(TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "token",
        tokens.PREFIX,
        tokens.PREFIX + "!!!",
        TOKEN.encode()[:-3],
        encoded([]),
        encoded({"hub": "h:1", "ca": "ab" * 32, "name": "n"}),
        encoded({"hub": "h:1", "ca": "ab" * 32, "name": "n", "secret": 5}),
        encoded({"hub": "h:1", "ca": "xyz", "name": "n", "secret": "s"}),
        encoded({"hub": "h:1", "ca": "ab" * 32 + ",", "name": "n", "secret": "s"}),
        encoded({"hub": "h", "ca": "ab" * 32, "name": "n", "secret": "s"}),
    ],
)
def test_what_is_no_token_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(tokens.TokenError) as error:
        tokens.parse(text)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_secrets_are_stored_hashed() -> None:
    secret = tokens.new_secret()
    assert secret not in tokens.hash_of(secret) and len(secret) >= 43
    assert tokens.matches(secret, tokens.hash_of(secret))
    assert not tokens.matches(secret + "x", tokens.hash_of(secret))


# --- kubeconfig --------------------------------------------------------------------------------------------------


def test_the_admins_kubeconfig(ca: Authority, tmp_path: Path) -> None:
    path = tmp_path / "hub" / "admin.kubeconfig"
    for _ in range(2):
        leaf = ca.issue_admin(NOW)
        kubeconfig.write(path, kubeconfig.admin_kubeconfig("https://127.0.0.1:6443", ca.bundle_pem, leaf))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_bytes())
    user = config["users"][0]["user"]
    certificate = loaded(base64.b64decode(user["client-certificate-data"]))
    certificate.verify_directly_issued_by(ca.certificate)
    names = {a.oid: a.value for a in certificate.subject}
    assert names == {NameOID.COMMON_NAME: "admin", NameOID.ORGANIZATION_NAME: "system:masters"}
    assert base64.b64decode(user["client-key-data"]) == leaf.key_pem
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
