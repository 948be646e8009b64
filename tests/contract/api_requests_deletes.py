"""The scenario of deletions: policies and the finalizers that stand for them, options, collections.

Nothing collects garbage on either side, so finalizers stay until a step takes them away.
"""

from __future__ import annotations

from tests.contract.api_steps import Space, configmap, delete, get, obj, patch, post
from tests.contract.differential import Scenario

HELD = {"finalizers": ["example.com/hold"]}
FREE = {"metadata": {"finalizers": None}}


def deletes() -> Scenario:
    at = Space("deletes")
    maps, jobs = at.configmaps, f"/apis/batch/v1/namespaces/{at.name}/jobs"
    a, b, c, d = (f"{maps}/{name}" for name in "abcd")
    job_spec = {
        "manualSelector": True,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "m", "image": "i"}]},
        },
    }
    return Scenario(
        at.name,
        (
            at.made,
            post("a", maps, configmap("a")),
            delete("both", a, {"propagationPolicy": "Orphan", "orphanDependents": True}),
            delete("sideways", f"{a}?propagationPolicy=Sideways"),
            delete("grace_word", a, {"gracePeriodSeconds": "soon"}),
            delete("foreground_dry", a, {"propagationPolicy": "Foreground", "dryRun": ["All"]}),
            delete("foreground", a, {"propagationPolicy": "Foreground"}),
            get("foreground_get", a),
            delete("nothing_said", a),
            delete("orphan_instead", a, {"propagationPolicy": "Orphan"}),
            delete("legacy_orphan", a, {"orphanDependents": True}),
            delete("background_instead", a, {"propagationPolicy": "Background"}),
            get("gone", a),
            post("b", maps, configmap("b", metadata=HELD)),
            delete("legacy_accepted", b, {"orphanDependents": False}),
            delete("foreground_late", b, {"propagationPolicy": "Foreground"}),
            patch("let_go", b, FREE),
            get("b_gone", b),
            post("c", maps, configmap("c", metadata={"finalizers": ["orphan"]})),
            delete("own_finalizer", c),
            delete("own_finalizer_off", c, {"propagationPolicy": "Background"}),
            post("d", maps, configmap("d")),
            delete("negative_grace", d, {"gracePeriodSeconds": -5}),
            get("d_gone", d),
            delete("no_jobs", f"{jobs}?dryRun=All"),
            post("job", jobs, obj("batch/v1", "Job", "j", spec=job_spec, metadata={"labels": {"a": "b"}})),
            delete("job_orphans", f"{jobs}/j"),
            delete("job_background", f"{jobs}/j", {"propagationPolicy": "Background"}),
            post("k", maps, configmap("k", metadata={"labels": {"x": "y"}, **HELD})),
            post("l", maps, configmap("l", metadata={"labels": {"x": "y"}})),
            delete("collection_dry", f"{maps}?labelSelector=x%3Dy", {"dryRun": ["All"]}),
            delete("collection_foreground", f"{maps}?labelSelector=x%3Dy", {"propagationPolicy": "Foreground"}),
            get("collection_left", f"{maps}?labelSelector=x%3Dy"),
            delete("collection_background", f"{maps}?labelSelector=x%3Dy", {"propagationPolicy": "Background"}),
            patch("k_let_go", f"{maps}/k", FREE),
            get("none_left", f"{maps}?labelSelector=x%3Dy"),
        ),
    )  # fmt: skip
