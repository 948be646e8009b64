"""The member's API server as the agent uses it: raw JSON over one connection pool.

kubernetes_asyncio reads the kubeconfig or the pod's ServiceAccount, makes the TLS context and knows how to
authenticate; requests go through its aiohttp session as bytes. Its typed models (1,300 modules, 33 MB) are never
imported: `lazy_packages` puts shells in place of its package `__init__` files.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from towline.agent.desired import Ref
from towline.kube.objects import Object

APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
MERGE_PATCH = "application/merge-patch+json"
EVENT_BYTES_MAX = 64 * 1024 * 1024
"""A line of a watch. An object has up to 1.5 MB in etcd, and six times that where every character is escaped."""


class BadConfiguration(Exception):
    """The kubeconfig or the pod's ServiceAccount cannot be used."""

    def __init__(self, sentence: str, next_step: str) -> None:
        super().__init__(sentence)
        self.next_step = next_step


class MemberUnreachable(Exception):
    """No answer from the member's API server: refused, cut off, timed out. Says nothing about any object."""


class Refused(Exception):
    """The member's API server answered with an error: `code` is HTTP's, `reason` and the text Kubernetes'."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        retry_after_seconds: float | None = None,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.details: dict[str, Any] = details or {}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """The parsed body. Raises Refused for a body that is not JSON (a proxy's page, for example)."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            text = self.body[:200].decode(errors="replace")
            raise Refused(self.status, "InvalidAnswer", f"the member answered with no JSON: {text}") from None


class Member:
    """An open connection pool to the member's API server."""

    def __init__(self, kubeconfig: Path | None, context: str, request_timeout_seconds: float) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout = request_timeout_seconds
        self._client: Any = None
        self._reloading = asyncio.Lock()

    async def open(self) -> None:
        """Read the configuration. Raises BadConfiguration."""
        self._client = await _api_client(self._kubeconfig, self._context)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = "") -> Any:
        return (await self.call("GET", path, query, accept=accept)).json()

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "",
        etag: str = "",
        timeout_seconds: float | None = None,
    ) -> Answer:
        """One request, answered 2xx or 304. Raises MemberUnreachable and Refused."""
        headers = {"Accept": accept or "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        if etag:
            headers["If-None-Match"] = etag
        timeout = aiohttp.ClientTimeout(total=timeout_seconds or self._timeout)
        answer = await self._once(method, path, query, body, headers, timeout)
        if answer.status == 401 and await self._reload():
            answer = await self._once(method, path, query, body, headers, timeout)
        if 200 <= answer.status < 300 or answer.status == 304:
            return answer
        raise _refusal(answer)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, silence_seconds: float
    ) -> AsyncIterator[Lines]:
        """A watch's body, line by line. Ends with MemberUnreachable when nothing came for `silence_seconds`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=silence_seconds)
        client = self._client
        headers = {"Accept": "application/json"}
        try:
            async with client.rest_client.pool_manager.get(
                await self._url(client, path, query, headers),
                headers=headers,
                timeout=timeout,
                **_extras(client),
            ) as response:
                if response.status != 200:
                    answer = Answer(response.status, await response.read(), response.headers)
                    if response.status == 401:
                        await self._reload()
                    raise _refusal(answer)
                yield Lines(response.content)
        except (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError, ValueError) as error:
            raise MemberUnreachable(_said(error)) from error

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> Answer:
        client = self._client
        if client is None:
            raise MemberUnreachable("the connection to the member is closed")
        try:
            url = await self._url(client, path, query, headers)
            async with client.rest_client.pool_manager.request(
                method, url, data=body, headers=headers, timeout=timeout, **_extras(client)
            ) as response:
                return Answer(response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise MemberUnreachable(_said(error)) from error

    async def _url(
        self, client: Any, path: str, query: Mapping[str, str] | None, headers: dict[str, str]
    ) -> str:
        await client.update_params_for_auth(headers, [], ["BearerToken"])
        url = str(client.configuration.host).rstrip("/") + path
        return f"{url}?{urlencode(query)}" if query else url

    async def _reload(self) -> bool:
        """Read credentials again: tokens of exec plugins expire, files are replaced. False: it cannot be done."""
        before = self._client
        async with self._reloading:
            if self._client is not before:
                return self._client is not None
            try:
                self._client = await _api_client(self._kubeconfig, self._context)
            except BadConfiguration:
                return False
            if before is not None:
                await before.close()
            return True


class Lines:
    """The lines of a body; aiohttp's own bound for a line is smaller than an event may be."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    async def readline(self) -> bytes:
        """The next line with its end; b"" behind the last."""
        return await self._content.readline(max_line_length=EVENT_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind is served: `/apis/apps/v1`, `deployments`."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of an object; without `name` that of the collection (all namespaces without `namespace`)."""
        path = group_version_path(self.api_version)
        if self.namespaced and namespace:
            path += f"/namespaces/{quote(namespace, safe='')}"
        path += f"/{self.plural}"
        return f"{path}/{quote(name, safe='')}" if name else path


class Discovery:
    """Which kinds the member serves, one cached request for each group version that is asked for."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._known: dict[str, dict[str, Resource]] = {}

    async def resource(self, api_version: str, kind: str) -> Resource | None:
        """None: the member answered and has no such kind. Raises MemberUnreachable and Refused when it could not
        be asked, which is something else (DESIGN 10)."""
        found = self._known.get(api_version, {}).get(kind)
        if found is None:
            self._known[api_version] = await self._fetch(api_version)
            found = self._known[api_version].get(kind)
        return found

    def forget(self, api_version: str) -> None:
        """Ask again next time: a request to a path that discovery had given was answered 404."""
        self._known.pop(api_version, None)

    async def _fetch(self, api_version: str) -> dict[str, Resource]:
        try:
            listing = await self._member.get(group_version_path(api_version))
        except Refused as refused:
            if refused.code == 404:
                return {}
            raise
        return {
            row["kind"]: Resource(api_version, row["kind"], row["name"], bool(row.get("namespaced")))
            for row in listing.get("resources") or []
            if "/" not in row["name"]
        }


def group_version_path(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


async def read_object(member: Member, resource: Resource, ref: Ref) -> Object | None:
    """The object, or None when the API server says that it is not there. Everything else is raised."""
    try:
        obj: Object = await member.get(resource.path(ref.namespace, ref.name))
    except Refused as refused:
        if refused.code == 404 and not missing_path(refused):
            return None
        raise
    return obj


def missing_path(refused: Refused) -> bool:
    """A 404 that is not about the object: the kind is not served (any more)."""
    return not refused.details.get("name")


def _refusal(answer: Answer) -> Refused:
    retry_after: float | None = None
    try:
        retry_after = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        pass
    try:
        status = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        details = status.get("details") or {}
        if retry_after is None and details.get("retryAfterSeconds"):
            retry_after = float(details["retryAfterSeconds"])
        return Refused(
            answer.status,
            str(status.get("reason") or ""),
            str(status.get("message") or ""),
            retry_after,
            details,
        )
    text = answer.body[:200].decode(errors="replace").strip() or "no explanation"
    return Refused(answer.status, "", f"the member answered {answer.status}: {text}", retry_after)


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the member's API server did not answer in time"
    return f"the member's API server cannot be reached: {error}"


def _extras(client: Any) -> dict[str, Any]:
    rest = client.rest_client
    extras: dict[str, Any] = {}
    if rest.proxy:
        extras["proxy"] = rest.proxy
    if rest.proxy_headers:
        extras["proxy_headers"] = rest.proxy_headers
    if rest.server_hostname:
        extras["server_hostname"] = rest.server_hostname
    return extras


# --- kubernetes_asyncio without its models --------------------------------------------------------------------


_ATTRIBUTES = {
    "kubernetes_asyncio": {},
    "kubernetes_asyncio.client": {
        "ApiClient": "api_client",
        "Configuration": "configuration",
        "ApiException": "exceptions",
    },
    "kubernetes_asyncio.client.models": {},
    "kubernetes_asyncio.client.api": {},
}  # fmt: skip


def lazy_packages() -> None:
    """Put a shell in place of each package whose `__init__` imports every model; PEP 562 loads what is asked for.

    Does nothing when kubernetes_asyncio is already imported in full."""
    if "kubernetes_asyncio" in sys.modules:
        return
    for name, attributes in _ATTRIBUTES.items():
        parent, _, child = name.rpartition(".")
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ImportError(f"{name} is not installed")
        shell = ModuleType(name)
        shell.__path__ = list(spec.submodule_search_locations or [])
        shell.__spec__ = spec
        shell.__file__ = spec.origin
        shell.__dict__["__getattr__"] = _getattr_of(name, attributes)
        sys.modules[name] = shell
        if parent:
            setattr(sys.modules[parent], child, shell)


def _getattr_of(package: str, attributes: Mapping[str, str]) -> Any:
    def getattr_(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in attributes:
            return getattr(importlib.import_module(f"{package}.{attributes[name]}"), name)
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            raise AttributeError(f"{package} has no {name} (only its shell is loaded)") from error

    return getattr_


async def _api_client(kubeconfig: Path | None, context: str) -> Any:
    lazy_packages()
    from kubernetes_asyncio.client.api_client import ApiClient
    from kubernetes_asyncio.client.configuration import Configuration
    from kubernetes_asyncio.config.config_exception import ConfigException
    from yaml import YAMLError

    configuration = Configuration()
    configuration.connection_pool_maxsize = 0  # watches hold a connection each; writes are bounded elsewhere
    # Clusters' own CAs often lack extensions that OpenSSL's strict mode (Python 3.13) wants.
    configuration.disable_strict_ssl_verification = True
    try:
        if kubeconfig is not None:
            kubeconfig.read_bytes()  # a clearer error than the library's for a file that is not there
            from kubernetes_asyncio.config.kube_config import load_kube_config

            await load_kube_config(
                str(kubeconfig), context or None, client_configuration=configuration, persist_config=False
            )
        else:
            from kubernetes_asyncio.config.incluster_config import load_incluster_config

            load_incluster_config(client_configuration=configuration)
        return ApiClient(configuration)
    except (ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError) as error:
        if kubeconfig is not None:
            said = (error.strerror or error) if isinstance(error, OSError) else " ".join(str(error).split())
            raise BadConfiguration(
                f"the kubeconfig {kubeconfig} cannot be used: {said}", "Check --kubeconfig and --context."
            ) from error
        raise BadConfiguration(
            f"the pod's ServiceAccount cannot be used: {error}", "Outside a cluster give --kubeconfig."
        ) from error
