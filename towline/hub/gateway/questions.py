"""What one session asks its agent about room, and what became of each question. Without I/O; `fleet.proto` has the rules."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import orjson

from towline.hub.decide.scheduling.estimates import NO_ANSWER
from towline.kube.packing import UNLIMITED
from towline.kube.wishes import Wish
from towline.proto import fleet_pb2 as fleet

OPEN_MAX = 256
WAITING_MAX = 1024
ANSWER_SECONDS_MAX = 3.0
"""From the question to the end of waiting for its answer (Karmada's scheduler-estimator-timeout)."""

Done = Callable[[str, int], None]


class Questions:
    """`done(key, room)` is called once for each wish that was asked about: with what the agent said, or with NO_ANSWER."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._last_id = 0
        self._waiting: deque[tuple[Wish, float]] = deque()
        self._open: dict[int, tuple[str, float]] = {}

    def ask(self, wish: Wish, now: float) -> None:
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((wish, now))
        else:
            self._done(wish.key, NO_ANSWER)

    def next_frame(self, bytes_max: int) -> fleet.Questions | None:
        """The questions that may be asked now; None: none."""
        frame, size = fleet.Questions(), 0
        while self._waiting and len(self._open) < OPEN_MAX:
            wish, asked_at = self._waiting[0]
            question = _question(self._last_id + 1, wish)
            size += question.ByteSize()
            if frame.questions and size > bytes_max:
                break
            self._waiting.popleft()
            self._last_id += 1
            self._open[self._last_id] = wish.key, asked_at
            frame.questions.append(question)
        return frame if frame.questions else None

    def answered(self, answers: fleet.Answers) -> None:
        """The agent's words. What nobody waits for (any more) is dropped."""
        for answer in answers.answers:
            asked = self._open.pop(answer.id, None)
            if asked is not None:
                self._done(asked[0], NO_ANSWER if answer.room < 0 else min(answer.room, UNLIMITED))

    def tick(self, now: float) -> None:
        """Wait no longer for what was asked too long ago."""
        for number, (key, asked_at) in list(self._open.items()):
            if now < asked_at + ANSWER_SECONDS_MAX:
                break  # what comes after was asked later
            del self._open[number]
            self._done(key, NO_ANSWER)
        while self._waiting and now >= self._waiting[0][1] + ANSWER_SECONDS_MAX:
            self._done(self._waiting.popleft()[0].key, NO_ANSWER)

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self._open:
            return next(iter(self._open.values()))[1] + ANSWER_SECONDS_MAX
        return self._waiting[0][1] + ANSWER_SECONDS_MAX if self._waiting else float("inf")


def _question(number: int, wish: Wish) -> fleet.Question:
    return fleet.Question(
        id=number,
        namespace=wish.namespace,
        pods=[
            fleet.Pods(
                replicas=min(pods.replicas, UNLIMITED),
                requests=pods.requests,
                claim=orjson.dumps(pods.claim) if pods.claim else b"",
                priority_class=pods.priority_class,
            )
            for pods in wish.pods
        ],
    )
