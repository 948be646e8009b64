"""Whatever a client sends, the answer is an object or a Status that is not a 500, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import random

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.api import fuzzing
from tests.api.served import Served
from tests.cases import cases


@cases(40, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_mutated_requests(seed: int, count: int) -> None:
    draw = random.Random(seed)
    asyncio.run(fuzzing.play([fuzzing.request(draw) for _ in range(count)], fuzzing.Tally()))


WEIRD = ["%ff", "%00", "a%2Fb", "%F0%9F%98%80", "a%0D%0Ab", "x" * 300, "%ED%A0%80"]


async def test_weird_urls_and_headers(api: Served) -> None:
    for text in WEIRD:
        for path in (
            f"/api/v1/namespaces/{text}",
            f"/api/v1/namespaces/shop/configmaps/{text}",
            f"/apis/{text}/v1/x/y",
        ):
            for method, body in (("GET", None), ("DELETE", None), ("PUT", {"metadata": {}})):
                answer = await api(method, path, body)
                assert 400 <= answer.code < 500, (method, path, answer.body)
        for query in ("labelSelector", "fieldSelector", "resourceVersion", "fieldManager", "watch", "limit"):
            answer = await api.get(f"/api/v1/configmaps?{query}={text}&timeoutSeconds=1")
            assert answer.code < 500, (query, text)
    made = await api(
        "POST", "/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "u"}}, User_Agent="b\u00e9d/1"
    )
    assert made.code == 201
