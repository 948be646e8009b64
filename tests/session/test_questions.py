"""Questions about room: what a lost, doubled or late one means, how many may be open, how long anybody waits."""

from __future__ import annotations

import pytest

from tests.session.pair import Pair
from towline.agent.answering import read_question
from towline.agent.session import Estimate
from towline.hub.decide.scheduling.estimates import NO_ANSWER
from towline.hub.gateway.effects import Answered
from towline.hub.gateway.questions import ANSWER_SECONDS_MAX, OPEN_MAX, WAITING_MAX
from towline.kube.packing import UNLIMITED
from towline.kube.wishes import Wish, of_components, of_replicas
from towline.proto import fleet_pb2 as fleet


def wish(cpu: int = 500) -> Wish:
    return of_replicas({"resourceRequest": {"cpu": f"{cpu}m"}}, "shop")


class Asking(Pair):
    """A settled session; `ask` asks, the agent counts `room` for each question it hears when it is told to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle()
        self.forget_traffic()

    def ask(self, *wishes: Wish) -> None:
        for each in wishes:
            self.hub.questions.ask(each, self.now)

    def heard(self) -> list[fleet.Question]:
        """The questions that are under way reach the agent."""
        effects = [effect for batch in self.hub_sends() for effect in self.agent_gets(batch)]
        return [q for effect in effects if isinstance(effect, Estimate) for q in effect.questions]

    def answer(self, *questions: fleet.Question, room: int = 7) -> list[fleet.AgentBatch]:
        for question in questions:
            self.agent.answer(fleet.Answer(id=question.id, room=room))
        return self.agent_sends()

    def deliver(self, batches: list[fleet.AgentBatch]) -> None:
        for batch in batches:
            self.hub_gets(batch)

    @property
    def answered(self) -> list[tuple[str, int]]:
        return [(effect.key, effect.room) for effect in self.saw(Answered)]


def test_a_question_and_its_answer() -> None:
    pair = Asking()
    pair.ask(wish())
    questions = pair.heard()
    assert [read_question(question).key for question in questions] == [wish().key]
    pair.deliver(pair.answer(*questions))
    assert pair.answered == [(wish().key, 7)]
    assert pair.hub.questions.deadline == float("inf")


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(of_replicas(None), id="nothing required"),
        pytest.param(
            of_replicas(
                {
                    "resourceRequest": {"cpu": "9E", "memory": "1Gi"},
                    "nodeClaim": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]},
                    "priorityClassName": "high",
                },
                "shop",
            ),
            id="replicas with a claim",
        ),
        pytest.param(
            of_components(
                [
                    {"name": "a", "replicas": 1, "replicaRequirements": {"resourceRequest": {"cpu": "1"}}},
                    {"name": "b", "replicas": 3},
                ],
                "shop",
            ),
            id="sets of components",
        ),
    ],
)
def test_the_agent_reads_the_wish_that_the_hub_meant(asked: Wish) -> None:
    pair = Asking()
    pair.ask(asked)
    [question] = pair.heard()
    assert read_question(question).key == asked.key


def test_a_lost_question_costs_the_time_limit_and_no_more() -> None:
    pair = Asking()
    pair.ask(wish())
    pair.hub_sends()  # lost
    assert pair.hub.deadline == pair.now + ANSWER_SECONDS_MAX
    pair.tick(ANSWER_SECONDS_MAX - 0.1)
    assert pair.answered == []
    pair.tick(0.1)
    assert pair.answered == [(wish().key, NO_ANSWER)]


def test_a_lost_answer_costs_the_same() -> None:
    pair = Asking()
    pair.ask(wish())
    pair.answer(*pair.heard())  # lost
    pair.tick(ANSWER_SECONDS_MAX)
    assert pair.answered == [(wish().key, NO_ANSWER)]


def test_a_late_answer_is_dropped_even_if_the_same_is_asked_again() -> None:
    pair = Asking()
    pair.ask(wish())
    late = pair.answer(*pair.heard(), room=1)
    pair.tick(ANSWER_SECONDS_MAX)
    pair.ask(wish())
    questions = pair.heard()
    pair.deliver(late)
    assert pair.answered == [(wish().key, NO_ANSWER)]
    pair.deliver(pair.answer(*questions, room=2))
    assert pair.answered == [(wish().key, NO_ANSWER), (wish().key, 2)]


def test_a_doubled_answer_counts_once() -> None:
    pair = Asking()
    pair.ask(wish())
    questions = pair.heard()
    pair.deliver(pair.answer(*questions))
    pair.deliver(pair.answer(*questions, room=9))
    assert pair.answered == [(wish().key, 7)]
    pair.deliver(pair.answer(fleet.Question(id=12345)))
    assert pair.answered == [(wish().key, 7)] and pair.hub.closed is None


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        pytest.param(-1, NO_ANSWER, id="cannot count"),
        pytest.param(-7, NO_ANSWER, id="no number of replicas"),
        pytest.param(UNLIMITED, UNLIMITED, id="as much as anybody wants"),
    ],
)
def test_what_an_answer_can_say(said: int, taken: int) -> None:
    pair = Asking()
    pair.ask(wish())
    pair.deliver(pair.answer(*pair.heard(), room=said))
    assert pair.answered == [(wish().key, taken)]


def test_only_so_many_are_open_and_wait() -> None:
    pair = Asking()
    wishes = [wish(n) for n in range(1, OPEN_MAX + WAITING_MAX + 3)]
    pair.ask(*wishes[:OPEN_MAX])
    first = pair.heard()
    pair.ask(*wishes[OPEN_MAX:])
    assert len(first) == OPEN_MAX and pair.heard() == []
    assert [key for key, room in pair.answered] == [each.key for each in wishes[-2:]], (
        "beyond: no answer, at once"
    )
    pair.deliver(pair.answer(first[0]))
    assert len(pair.heard()) == 1, "an answer makes room for the next question"
    pair.tick(ANSWER_SECONDS_MAX)
    assert len(pair.answered) == len(wishes), "what waits to be asked has the same time limit"


def test_questions_fit_into_batches() -> None:
    claim = {"nodeSelector": {f"label-{n}": "x" * 60 for n in range(2000)}}
    wishes = [of_replicas({"resourceRequest": {"cpu": f"{n}m"}, "nodeClaim": claim}) for n in range(1, 9)]
    pair = Asking()
    pair.ask(*wishes)
    batches = pair.hub_sends()
    assert len(batches) > 1
    assert all(batch.ByteSize() <= pair.identity.batch_bytes_max * 1.1 for batch in batches)
    assert sum(len(frame.questions.questions) for batch in batches for frame in batch.frames) == len(wishes)


def test_nothing_is_asked_before_the_hello_and_after_the_end() -> None:
    pair = Pair()
    pair.hub.questions.ask(wish(), pair.now)
    assert pair.hub_sends() == []
    pair.settle()
    pair.hub.close("over")
    pair.hub.questions.ask(wish(1), pair.now)
    assert [frame.WhichOneof("frame") for batch in pair.hub_sends() for frame in batch.frames] == ["go_away"]


def test_an_agent_says_that_it_estimates() -> None:
    pair = Pair()
    pair.settle()
    assert pair.hub.hello is not None and pair.hub.hello.estimates
