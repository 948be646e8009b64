"""The steps of a rotation: what keeps each waiting, who signs meanwhile, and that a stop at any of them loses nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from towline.certs import authority, rotation
from towline.certs.authority import AgentIdentity, CertificateError
from towline.certs.rotation import Authorities, Holder, Stage

NOW = 1_800_000_000.0
OLD, NEW = authority.create(NOW), authority.create(NOW)
STEADY = Authorities(OLD)
SPREADING = rotation.begun(STEADY, NEW)
RENEWING = replace(SPREADING, stage=Stage.RENEWING, needed_until=NOW + 100)
DONE = Authorities(NEW)

KNOWS_OLD = Holder(frozenset({OLD.fingerprint}), OLD.key_id, NOW + 10)
KNOWS_BOTH = Holder(frozenset({OLD.fingerprint, NEW.fingerprint}), OLD.key_id, NOW + 10)
RENEWED = replace(KNOWS_BOTH, issuer=NEW.key_id)
ENDED = replace(KNOWS_OLD, ends=NOW)


@pytest.mark.parametrize(
    ("before", "holders", "now", "after", "waiting"),
    [
        pytest.param(STEADY, {"a": KNOWS_OLD}, NOW, STEADY, {}, id="nothing is under way"),
        pytest.param(SPREADING, {}, NOW, RENEWING, {}, id="nobody has to learn"),
        pytest.param(SPREADING, {"a": KNOWS_BOTH, "b": KNOWS_OLD}, NOW, SPREADING, {"b": "heard"}, id="one has to learn"),
        pytest.param(SPREADING, {"a": KNOWS_BOTH}, NOW, RENEWING, {}, id="all trust both"),
        pytest.param(SPREADING, {"a": ENDED}, NOW, RENEWING, {}, id="who has to join again keeps nobody waiting"),
        pytest.param(SPREADING, {"a": ENDED, "b": KNOWS_OLD}, NOW, SPREADING, {"b": "heard"}, id="but others do"),
        pytest.param(RENEWING, {"a": KNOWS_BOTH}, NOW + 5, RENEWING, {"a": "old authority"}, id="one has to renew"),
        pytest.param(RENEWING, {"a": KNOWS_OLD}, NOW + 5, RENEWING, {"a": "heard"}, id="one came back late"),
        pytest.param(RENEWING, {"a": RENEWED}, NOW + 5, RENEWING, {}, id="an administrator may need the old one"),
        pytest.param(RENEWING, {"a": RENEWED}, NOW + 100, DONE, {}, id="nobody needs the old one"),
    ],
)  # fmt: skip
def test_steps(
    before: Authorities, holders: dict[str, Holder], now: float, after: Authorities, waiting: dict[str, str]
) -> None:
    held = {name: replace(h, ends=h.ends + 1000) if h is not ENDED else h for name, h in holders.items()}
    assert rotation.advanced(before, held, now, 100) == after
    lagging = rotation.lagging(before, held, now)
    assert lagging.keys() == waiting.keys() and all(waiting[name] in why for name, why in lagging.items())


@pytest.mark.parametrize(
    ("at", "server", "client", "trusted"),
    [
        (STEADY, OLD, OLD, {OLD.fingerprint}),
        (SPREADING, OLD, OLD, {OLD.fingerprint, NEW.fingerprint}),
        (RENEWING, OLD, NEW, {OLD.fingerprint, NEW.fingerprint}),
        (DONE, NEW, NEW, {NEW.fingerprint}),
    ],
    ids=["steady", "spreading", "renewing", "done"],
)
def test_who_signs_and_who_is_trusted(
    at: Authorities, server: authority.Authority, client: authority.Authority, trusted: set[str]
) -> None:
    """What the hub shows is always by one whom everybody trusts who heard of the step before."""
    leaf = at.issue_server(["hub"], NOW, 1)
    agent = at.issue_agent(AgentIdentity("c", "u"), authority.new_key().public_key(), NOW)
    admin, hub = at.issue_admin(NOW, 1), at.issue_hub("h", NOW)
    assert authority.issuer_of(leaf.certificate_pem) == server.key_id and set(at.fingerprints) == trusted
    assert {authority.issuer_of(pem) for pem in (agent, admin.certificate_pem, hub.certificate_pem)} == {
        client.key_id
    }
    assert set(authority.bundle_of(at.bundle_pem)) == trusted
    assert at.vouches_for(client.key_id) and at.vouches_for(server.key_id) and not at.vouches_for("")


@pytest.mark.parametrize("at", [STEADY, SPREADING, RENEWING], ids=lambda at: str(at.stage.value))
def test_a_hub_may_stop_at_any_step(at: Authorities) -> None:
    again = rotation.decode(rotation.encode(at))
    assert rotation.encode(again) == rotation.encode(at)
    assert (again.stage, again.bundle_pem, again.issuing.key_id) == (
        at.stage,
        at.bundle_pem,
        at.issuing.key_id,
    )


def test_a_second_rotation_waits_for_the_first() -> None:
    assert rotation.begun(SPREADING, authority.create(NOW)) is SPREADING
    assert rotation.finished(STEADY) is STEADY


@pytest.mark.parametrize("spoil", ["no key", "another's key", "no stage", "no certificate"])
def test_what_is_damaged_is_told(spoil: str) -> None:
    spec = rotation.encode(STEADY)
    if spoil == "no key":
        spec["current"] = {"certificate": spec["current"]["certificate"]}
    elif spoil == "another's key":
        spec["current"] = {**spec["current"], "key": NEW.key_pem.decode()}
    elif spoil == "no stage":
        del spec["stage"]
    else:
        spec["current"] = {**spec["current"], "certificate": "x"}
    with pytest.raises(CertificateError, match="in the store"):
        rotation.decode(spec)
