"""Admission webhooks: others decide over HTTPS what may be written, and change it on its way.

The configurations follow the cache, compiled once a revision; which webhook is for which write, and what its answers mean, is
in `kube/webhooks`. Mutating webhooks are asked one after another, validating ones at the same time. A webhook that hangs costs
those writes that it is for their wait, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
from yarl import URL

from towline.hub.api import admission, scale, status
from towline.hub.api.claims import NAMESPACES
from towline.hub.api.engine import Limits
from towline.hub.api.plugins import AdmissionRequest, Warnings
from towline.hub.api.status import StatusError
from towline.hub.api.user import User
from towline.hub.api.versions import object_as_version
from towline.hub.decide.conditions import rfc3339
from towline.hub.store.cache import Cache
from towline.hub.store.watch import WatchEvent
from towline.kube import patches, webhooks
from towline.kube.kinds import Kind, KindTable
from towline.kube.objects import Key, Object, namespace_of, with_metadata
from towline.kube.webhooks import Answer, BadAnswer, ConditionError, Request, Resource, Round, Webhook

log = logging.getLogger(__name__)

_RESOURCES = (webhooks.MUTATING, webhooks.VALIDATING)
_SCALE = (scale.KIND.group, scale.KIND.version, scale.KIND.kind)


class CallFailed(Exception):
    """A webhook could not be asked, in the words of a Go program: people look for them."""


class Webhooks:
    """A plugin. `start` once the cache is loaded; `stop` closes its connections."""

    def __init__(
        self,
        cache: Cache,
        kinds: KindTable,
        *,
        now: Callable[[], float],
        new_uid: Callable[[], str],
        limits: Limits = Limits(),
    ) -> None:
        self._cache = cache
        self._kinds = kinds
        self._now = now
        self._new_uid = new_uid
        self._limits = limits
        self._caller = Caller(limits)
        self._compiled: dict[Key, tuple[Webhook, ...]] = {}
        self._mutating: Sequence[Webhook] = ()
        self._validating: Sequence[Webhook] = ()
        self._any = False
        self._served: tuple[int, dict[tuple[str, str], tuple[Kind, ...]]] = (-1, {})
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unsubscribe = self._cache.subscribe(self._changed)
        for resource in _RESOURCES:
            for entry in self._cache.list(webhooks.GROUP, resource):
                self._compiled[entry.key] = webhooks.webhooks_of(entry.object)
        self._order()

    async def stop(self) -> None:
        self._unsubscribe()
        await self._caller.close()

    # --- the plugin ------------------------------------------------------------------------------------------

    def handles(self, request: AdmissionRequest) -> bool:
        return self._any and not webhooks.exempt(request.kind.group, request.kind.plural)

    async def admit(self, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
        if not self._mutating:
            return request.object, ()
        if request.operation == "CREATE" and request.object is not None:
            # These come later, as in Kubernetes; whatever a webhook says in their place is put right.
            shown = with_metadata(request.object, uid=None, creationTimestamp=None, generation=None)
            sent = first = self._sent(replace(request, object=shown))
        else:
            sent = first = self._sent(request)
        warnings: Warnings = ()
        order = Round()
        try:
            async with asyncio.timeout(self._limits.webhooks_seconds):
                for again in (False, True):
                    for webhook in self._mutating:
                        if again and not order.due(webhook):
                            continue
                        sent, told = await self._changed_by(webhook, request, sent, order)
                        warnings += told
        except TimeoutError:
            raise status.timed_out("request did not complete within requested timeout") from None
        except StatusError as error:
            error.warnings = (*warnings, *error.warnings)
            raise
        if sent.object is first.object or sent.object is None:
            return request.object, warnings
        if request.subresource == "scale":
            assert request.object is not None, "a Scale is of an object"
            return scale.scaled(request.kind, request.key, request.object, sent.object), warnings
        return sent.object, warnings

    async def _changed_by(
        self, webhook: Webhook, request: AdmissionRequest, sent: Request, order: Round
    ) -> tuple[Request, Warnings]:
        resource = _asked_as(webhook, sent)
        if resource is None:
            return sent, ()
        answer = await self._ask(webhook, request, sent, resource)
        before = sent.object
        if answer.patch:
            sent = replace(sent, object=self._patched(webhook, request, sent, resource, answer))
        order.told(webhook, changed=sent.object != before)
        return sent, answer.warnings

    async def validate(self, request: AdmissionRequest) -> Warnings:
        if not self._validating:
            return ()
        sent = self._sent(request)
        chosen = [(w, at) for w in self._validating if (at := _asked_as(w, sent)) is not None]
        asking = (self._ask(webhook, request, sent, resource) for webhook, resource in chosen)
        answers = await asyncio.gather(*asking, return_exceptions=True)
        warnings = tuple(told for a in answers if isinstance(a, Answer | StatusError) for told in a.warnings)
        for answer in answers:
            if isinstance(answer, BaseException):
                if isinstance(answer, StatusError):
                    answer.warnings = warnings
                raise answer
        return warnings

    async def _ask(
        self, webhook: Webhook, request: AdmissionRequest, sent: Request, resource: Resource
    ) -> Answer:
        """The answer of a webhook that allows. Raises StatusError; a failure that is to be ignored allows."""
        if sent.dry_run and not webhook.dry_run:
            raise status.bad_request(f'admission webhook "{webhook.name}" does not support dry run')
        uid = self._new_uid()
        review = webhooks.review(webhook, sent, resource, uid)
        try:
            body = await self._caller.post(webhook, orjson.dumps(review))
            answer = webhooks.answered(webhook, body, uid)
        except (CallFailed, BadAnswer) as error:
            told = f'failed calling webhook "{webhook.name}": {error}'
            if webhook.ignore:
                log.warning(
                    "%s (configuration %s): the write goes on without it", told, webhook.configuration
                )
                return Answer()
            raise status.internal_error(told) from None
        if request.annotations is not None:
            request.annotations.update(answer.annotations)
        if answer.denied is not None:
            refusal = _refusal(answer.denied)
            refusal.warnings = answer.warnings
            raise refusal
        return answer

    def _patched(
        self, webhook: Webhook, request: AdmissionRequest, sent: Request, resource: Resource, answer: Answer
    ) -> Object:
        """The request's object as a webhook's patch leaves it, with defaults. Raises StatusError."""
        if sent.object is None:
            told = f'admission webhook "{webhook.name}" attempted to modify the object, which is not supported for this operation'
            raise status.internal_error(told)
        before = sent.convert(sent.object, resource)
        try:
            after = patches.json_patch(before, answer.patch)
        except patches.PatchError as error:
            raise status.internal_error(str(error)) from None
        if not isinstance(after, dict) or _identity(after) != _identity(before):
            told = f'admission webhook "{webhook.name}" may not change apiVersion, kind or name'
            raise status.internal_error(told)
        if namespace_of(after) != namespace_of(before):
            told = "the namespace of the provided object does not match the namespace sent on the request"
            raise status.bad_request(told)
        if request.subresource == "scale":
            return after
        try:
            after = admission.check_envelope(request.kind, sent.convert(after, sent.resource))
            prepared = admission.prepare(
                request.kind,
                after,
                request.old,
                validation="Ignore",
                now=rfc3339(self._now()),
                uid=self._new_uid(),
            )
        except StatusError as error:
            raise status.internal_error(error.message) from None
        return prepared.object

    # --- what is asked ---------------------------------------------------------------------------------------

    def _sent(self, request: AdmissionRequest) -> Request:
        kind, key = request.kind, request.key
        obj, old = request.object, request.old
        if request.subresource == "scale":
            obj = None if obj is None else scale.scale_of(kind, obj)
            old = None if old is None else scale.scale_of(kind, old)
        namespace = key.name if (kind.group, kind.plural) == NAMESPACES else key.namespace
        space = self._cache.get(Key(*NAMESPACES, "", namespace)) if namespace else None
        options = f"{request.operation.capitalize()}Options"
        return Request(
            request.operation,
            _resource(kind, request.subresource),
            tuple(
                _resource(other, request.subresource) for other in self._versions(kind) if other is not kind
            ),
            request.subresource,
            namespace,
            key.name,
            obj,
            old,
            (space.meta.labels or {}) if space is not None else {},
            _user_info(request.user),
            request.dry_run,
            {"kind": options, "apiVersion": "meta.k8s.io/v1", **(request.options or {})},
            self._converted,
        )

    def _converted(self, obj: Object, resource: Resource) -> Object:
        """`obj` as an object of `resource`: through the stored version where the two differ in more than apiVersion."""
        wanted = self._kinds.resource(*resource[:3])
        sent = self._kinds.of_object(obj)
        if wanted is None or sent is None or resource.kind == _SCALE or sent is wanted:
            return obj
        return object_as_version(obj if sent.conversion is None else sent.conversion.to_stored(obj), wanted)

    def _versions(self, kind: Kind) -> tuple[Kind, ...]:
        """All served versions of a resource, also those in another group."""
        generation, known = self._served
        if generation != self._kinds.generation:
            known = {}
            for row in self._kinds:
                known[row.resource] = (*known.get(row.resource, ()), row)
            self._served = (self._kinds.generation, known)
        return known.get(kind.resource, ())

    # --- the configurations ----------------------------------------------------------------------------------

    def _changed(self, revision: int, events: Sequence[WatchEvent]) -> None:
        changed = False
        for event in events:
            key = event.entry.key
            if not webhooks.exempt(key.group, key.resource):
                continue
            changed = True
            if event.type == "DELETED":
                self._compiled.pop(key, None)
            else:
                self._compiled[key] = webhooks.webhooks_of(event.entry.object)
        if changed:
            self._order()

    def _order(self) -> None:
        """Configurations by name, webhooks as they stand there."""
        in_order = sorted(self._compiled.items(), key=lambda item: item[0].name)
        self._mutating, self._validating = (
            tuple(one for key, found in in_order if key.resource == resource for one in found)
            for resource in _RESOURCES
        )
        self._any = bool(self._mutating or self._validating)
        self._caller.keep({webhook.ca_bundle for _, found in in_order for webhook in found})


class Caller:
    """The connections to webhooks: reused, and bounded for each address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._trust: dict[bytes, ssl.SSLContext] = {}

    def keep(self, bundles: set[bytes]) -> None:
        """Forget the authorities that no webhook names any more."""
        self._trust = {bundle: trust for bundle, trust in self._trust.items() if bundle in bundles}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, webhook: Webhook, body: bytes) -> bytes:
        """The body of the answer. Raises CallFailed."""
        url = f"{webhook.url}?timeout={webhook.timeout_seconds}s"
        try:
            async with self._opened().post(
                URL(url, encoded=True),
                data=body,
                headers={"Content-Type": "application/json", "Accept": "application/json, */*"},
                skip_auto_headers=("Accept-Encoding",),
                ssl=self._trusting(webhook.ca_bundle),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=webhook.timeout_seconds),
            ) as response:
                answer = await self._bounded(response)
                if not 200 <= response.status <= 206:
                    raise CallFailed(f"failed to call webhook: {_refused(response.status, answer)}")
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise CallFailed(f'failed to call webhook: Post "{url}": {_why(error)}') from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, limit_per_host=self._limits.webhook_connections)
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,  # nothing was offered, and nothing grows here
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "towline"},
            )
        return self._session

    def _trusting(self, bundle: bytes) -> ssl.SSLContext:
        trust = self._trust.get(bundle)
        if trust is None:
            trust = ssl.create_default_context(cadata=bundle.decode("ascii", "replace") or None)
            # Many webhooks make their own authority, and leave out extensions that only this check asks for.
            trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self._trust[bundle] = trust
        return trust

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._limits.webhook_bytes:
                raise CallFailed(
                    f"failed to call webhook: the answer is larger than {self._limits.webhook_bytes} bytes"
                )
            parts.append(part)
        return b"".join(parts)


def _asked_as(webhook: Webhook, sent: Request) -> Resource | None:
    try:
        return webhooks.asked_as(webhook, sent)
    except ConditionError as error:
        of = sent.resource
        raise status.forbidden(of.plural, of.group, sent.name, str(error)) from None


def _refusal(denied: Object) -> StatusError:
    details = denied.get("details")
    refusal = StatusError(
        denied["code"],
        str(denied.get("reason") or ""),
        denied["message"],
        details if isinstance(details, dict) else None,
    )
    metadata = denied.get("metadata")
    refusal.metadata = metadata if isinstance(metadata, dict) else {}
    return refusal


def _identity(obj: Object) -> tuple[Any, ...]:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return ()
    return obj.get("apiVersion"), obj.get("kind"), metadata.get("name")


def _resource(kind: Kind, subresource: str) -> Resource:
    of = _SCALE if subresource == "scale" else (kind.group, kind.version, kind.kind)
    return Resource(kind.group, kind.version, kind.plural, of)


def _user_info(user: User) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {name: list(values) for name, values in user.extra.items()}
    return info


# --- in the words that people look for -------------------------------------------------------------------------


def _refused(code: int, body: bytes) -> str:
    """An HTTP answer that is no success, as Go's client tells it."""
    if code == 404:
        return "the server could not find the requested resource"
    if code >= 500:
        said = body[:1024].decode("utf-8", "replace").strip()
        return f'an error on the server ("{said or "unknown"}") has prevented the request from succeeding'
    if 300 <= code < 400:
        return f"the server answered {code}, and redirects are not followed"
    return f"the server rejected our request for an unknown reason ({code})"


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {_certificate(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        at = f"[{error.host}]" if ":" in error.host else error.host
        why = error.os_error.strerror or str(error.os_error)
        if error.os_error.errno == errno.ECONNREFUSED:
            why = "connect: connection refused"
        return f"dial tcp {at}:{error.port}: {why}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, ssl.SSLError):
        return f"the authorities of caBundle cannot be read: {error}"
    return str(error) or type(error).__name__


def _certificate(error: Exception) -> str:
    code = getattr(error, "verify_code", 0)
    if code in (18, 19, 20, 21):  # OpenSSL's numbers for chains that end nowhere
        return "x509: certificate signed by unknown authority"
    if code in (9, 10):
        return "x509: certificate has expired or is not yet valid"
    return f"x509: {getattr(error, 'verify_message', None) or error}"
