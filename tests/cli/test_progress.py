"""What the demo says of its progress."""

from __future__ import annotations

from typing import Any

from towline.cli.progress import Progress


def deployment(ready: int, replicas: int = 2, observed: int = 1) -> dict[str, Any]:
    status = {"readyReplicas": ready, "observedGeneration": observed}
    return {"metadata": {"generation": 1}, "spec": {"replicas": replicas}, "status": status}


def test_done_means_everything_everywhere_and_told_back() -> None:
    progress = Progress({"a": "r, z", "b": "r, z"}, ("Deployment", "Service"))
    assert progress.see("a", "Deployment", deployment(0), 0.1) == ["a: Deployment arrived after 0.10 s"]
    assert progress.see("a", "Deployment", deployment(1), 0.2) == []
    assert progress.see("a", "Service", {}, 0.3) == ["a: Service arrived after 0.30 s"]
    assert progress.missing() == "the replicas in a (1 of 2 ready)"
    assert progress.see("a", "Deployment", deployment(2), 0.4) == ["a: 2/2 replicas ready after 0.40 s"]
    assert (progress.last_arrival_seconds, progress.done) == (None, False)
    progress.see("b", "Service", {}, 0.5)
    assert progress.missing() == "the Deployment in b"
    progress.see("b", "Deployment", deployment(2), 0.6)
    assert progress.last_arrival_seconds == 0.6
    assert not progress.done
    assert progress.see_hub(deployment(3), 0.7) == []
    assert progress.see_hub(deployment(4), 0.8) == [
        "hub: the Deployment's status says 4 replicas ready after 0.80 s"
    ]
    assert progress.done


def test_a_status_of_an_earlier_generation_is_not_ready() -> None:
    progress = Progress({"a": ""}, ("Deployment",))
    progress.see("a", "Deployment", deployment(2, observed=0), 0.1)
    assert progress.clusters["a"].ready_at is None


def test_the_hubs_watch_may_be_faster_than_the_members() -> None:
    progress = Progress({"a": ""}, ("Deployment",))
    progress.see_hub(deployment(2), 0.1)
    assert not progress.done
    news = progress.see("a", "Deployment", deployment(2), 0.2)
    assert news[-1] == "hub: the Deployment's status says 2 replicas ready after 0.20 s"
    assert progress.done
