"""The walks over the transition table, by name; what they do is in `walks`."""

from collections.abc import Mapping

from unit.core import builders
from unit.core import scenarios as s
from unit.core.simulated_cluster import Model
from unit.core.walks import (
    BACK,
    CONVERTING,
    DOWN,
    DRAINING,
    HARM,
    HARMFUL,
    OBSERVING,
    PAUSED,
    PROMOTED,
    REJECTED,
    REJECTED_REVISION,
    ROLLED_BACK,
    ROUTING,
    SERVING,
    SUSPENDED,
    UNAVAILABLE,
    Walk,
    aborting,
    aborting_with_refused_model_3,
    accept_again,
    after,
    after_model_3,
    ask,
    at_once,
    candidate,
    contest,
    crash,
    crashed_and_converting_again,
    devices,
    devices_of_model_1,
    edit_gates,
    first_not_routed,
    first_refused,
    forget_artifacts,
    forget_pods,
    fresh,
    gateways,
    hostname,
    leave_store,
    lose_all_of_model_1,
    lose_config,
    lose_route,
    lose_stable,
    meanwhile,
    mend_model_1,
    mend_stable,
    models,
    not_built,
    not_converted,
    nothing,
    one_pod_more,
    other_accelerators,
    pause,
    pods_never_ready,
    pods_slow,
    promote_step,
    promoted,
    rate,
    refuse_routes,
    replicas,
    resume,
    revert,
    scrape_again,
    stable_down,
    starting_again,
    stop_scraping,
    stop_stable_errors,
    supersede,
    suspend,
    suspended,
    suspended_after_harm,
    throw_route_out,
    to_model,
    turned_back,
    unpause,
    until,
)
from visionmodel_contract.exits import ExitCode

AT_REST: Mapping[str, Walk] = {
    "created": Walk(fresh(), nothing, SERVING),
    "created-suspended": Walk(fresh(suspend=True), nothing, SUSPENDED),
    "created-suspended-then-resumed": Walk(fresh(suspend=True), after(until("Suspended"), resume), SERVING),
    "created-without-replicas-then-scaled": Walk(
        fresh(serving={"replicas": 0}),
        after(until("Healthy"), lambda c: c.change(serving={"replicas": 2}), until(DOWN)),
        SERVING,
    ),
    "new-revision": Walk(s.serving, to_model(2), PROMOTED),
    "suspended": Walk(s.serving, suspend, SUSPENDED),
    "stable-lost": Walk(s.serving, lose_stable, DOWN),
    "stable-back": Walk(stable_down, mend_stable, SERVING),
    "stable-lost-new-revision": Walk(stable_down, to_model(2), CONVERTING, 2),
    "stable-lost-suspended": Walk(stable_down, suspend, SUSPENDED),
    "stable-lost-refused-model": Walk(turned_back, after(revert, lose_stable, to_model(2)), HARM),
    "turned-back-next": Walk(turned_back, to_model(3), PROMOTED),
    "turned-back-retried": Walk(turned_back, ask("retry"), CONVERTING, 1),
    "turned-back-reverted": Walk(turned_back, revert, SERVING),
    "turned-back-reverted-stable-down": Walk(turned_back, after(lose_stable, revert), DOWN),
    "turned-back-suspended": Walk(turned_back, suspend, SUSPENDED),
    "turned-back-applied-again": Walk(turned_back, after(revert, to_model(2)), HARM),
    "turned-back-suspended-resumed": Walk(suspended_after_harm, resume, HARM),
    "not-converted-retried": Walk(not_converted, after(lambda c: c.models.clear(), ask("retry")), PROMOTED),
    "not-built-retried": Walk(not_built, after(lambda c: c.models.clear(), ask("retry")), PROMOTED),
    "not-built-next": Walk(not_built, to_model(3), PROMOTED),
    "not-converted-next": Walk(not_converted, to_model(3), PROMOTED),
    "not-converted-reverted": Walk(not_converted, revert, SERVING),
    "other-refused-model": Walk(
        aborting_with_refused_model_3(ask("abort")), after(until(("Degraded", "User")), to_model(3)), HARM
    ),
    "resumed": Walk(suspended, resume, SERVING),
    "config-and-artifact-lost": Walk(s.serving, at_once(forget_artifacts, lose_config), SERVING),
    "gateway-no-longer-named": Walk(s.serving, gateways(), SERVING),
    "gateway-named-later": Walk(lambda: s.serving(gateway=False), after(gateways("vision"), to_model(2)), PROMOTED),
    "route-lost": Walk(s.serving, at_once(lose_route, until(ROUTING)), SERVING),
    "route-thrown-out": Walk(s.serving, throw_route_out, REJECTED),
    "route-thrown-out-and-taken-back": Walk(s.serving, after(throw_route_out, until(REJECTED), accept_again), SERVING),
    "another-gateway-that-is-slow": Walk(
        s.serving, at_once(lose_route, refuse_routes, gateways("other"), until(ROUTING), accept_again), SERVING
    ),
    "stable-back-without-its-route": Walk(stable_down, at_once(throw_route_out, mend_stable), REJECTED),
    "resumed-without-its-route": Walk(suspended, at_once(throw_route_out, resume, until("Pending")), REJECTED),
    "resumed-without-replicas": Walk(suspended, lambda c: c.change(suspend=False, serving={"replicas": 0}), SERVING),
    "resumed-with-new-model": Walk(suspended, after(to_model(2), resume), PROMOTED),
    "starting-again-new-model": Walk(starting_again, to_model(2), CONVERTING, 1),
    "starting-again-suspended": Walk(starting_again, suspend, SUSPENDED, 2),
    "starting-again-refused-model": Walk(
        suspended_after_harm, at_once(revert, resume, until("Pending"), to_model(2)), HARM
    ),
}

BEFORE_TRAFFIC: Mapping[str, Walk] = {
    "conversion-failed": Walk(
        candidate(Model(exit_code=ExitCode.INVALID_MODEL)), nothing, ("Degraded", "ConversionFailed")
    ),
    "conversion-left-no-report": Walk(
        candidate(Model(exit_code=ExitCode.INTERNAL)), nothing, ("Degraded", "ConversionFailed")
    ),
    "gate-failed": Walk(candidate(Model(exit_code=ExitCode.GATE_FAILED)), nothing, ("Degraded", "ConversionFailed")),
    "engines-built": Walk(candidate(**builders.TENSORRT), nothing, PROMOTED),
    "engines-of-an-artifact-in-a-store-that-was-left": Walk(
        lambda: s.serving(**builders.TENSORRT), at_once(leave_store, other_accelerators), PROMOTED
    ),
    "not-prepared-again": Walk(
        lambda: s.serving(**builders.TENSORRT),
        at_once(models(model_1=Model(exit_code=ExitCode.SOURCE_NOT_FOUND)), leave_store, other_accelerators),
        ("Degraded", "ConversionFailed"),
    ),
    "never-prepared-again": Walk(
        lambda: s.serving(**builders.TENSORRT),
        at_once(models(model_1=Model(converts_in=None)), leave_store, other_accelerators),
        ("Degraded", "ConversionDeadline"),
    ),
    "engine-refused": Walk(
        candidate(Model(build_exit_code=ExitCode.ENGINE_REFUSED), **builders.TENSORRT),
        nothing,
        ("Degraded", "ConversionFailed"),
    ),
    "engine-without-a-device": Walk(
        candidate(Model(build_exit_code=ExitCode.DEVICE_MISSING), **builders.TENSORRT),
        nothing,
        ("Degraded", "ConversionFailed"),
    ),
    "engine-without-a-device-retried": Walk(
        candidate(Model(build_exit_code=ExitCode.DEVICE_MISSING), **builders.TENSORRT),
        after(until(("Degraded", "ConversionFailed")), lambda c: c.models.clear(), ask("retry")),
        PROMOTED,
    ),
    "engines-superseded": Walk(
        candidate(Model(converts_in=8.0), **builders.TENSORRT), at_once(lambda c: c.advance(10), to_model(3)), PROMOTED
    ),
    "gates-edited-while-building": Walk(
        candidate(Model(converts_in=8.0), **builders.TENSORRT),
        at_once(lambda c: c.advance(10), edit_gates),
        PROMOTED,
        100,
    ),
    "conversion-deadline": Walk(candidate(Model(converts_in=None)), nothing, ("Degraded", "ConversionDeadline")),
    "gates-edited-while-converting": Walk(s.converting, at_once(lambda c: c.advance(1), edit_gates), PROMOTED, 100),
    "awaiting-promoted": Walk(s.awaiting_apply, at_once(ask("promote", "/0"), until(OBSERVING)), PROMOTED),
    "awaiting-promoted-in-full": Walk(s.awaiting_apply, ask("promote"), ("Promoting", "Scaling"), 20),
    "applied-by-hand-before-it-is-converted": Walk(
        s.converting, at_once(lambda c: c.change(conversion={"autoApply": False}), ask("promote", "/0")), OBSERVING, 50
    ),
    "awaiting-auto-apply": Walk(s.awaiting_apply, lambda c: c.change(conversion={"autoApply": True}), PROMOTED),
    "awaiting-promoted-when-its-artifact-is-lost": Walk(
        s.awaiting_apply, at_once(forget_artifacts, ask("promote", "/0"), until(CONVERTING)), PROMOTED
    ),
    "no-gateway": Walk(candidate(gateway=False), nothing, PROMOTED),
    "no-steps": Walk(candidate(rollout={"steps": []}), nothing, PROMOTED),
    "no-gateway-paused": Walk(candidate(gateway=False, rollout={"paused": True}), nothing, ("Held", "Paused")),
    "no-gateway-paused-resumed": Walk(
        candidate(gateway=False, rollout={"paused": True}), after(until("Held"), unpause), PROMOTED
    ),
    "no-gateway-paused-promoted": Walk(
        candidate(gateway=False, rollout={"paused": True}), after(until("Held"), ask("promote")), PROMOTED
    ),
    "canary-never-ready": Walk(candidate(Model(ready_in=None)), nothing, ("Degraded", "ProgressDeadline")),
    "no-device": Walk(s.without_a_device, nothing, ("Degraded", "ProgressDeadline")),
    "no-device-then-one": Walk(s.without_a_device, devices(None), PROMOTED),
    "no-device-for-a-pod-too-many": Walk(
        s.without_a_device, at_once(one_pod_more, devices(1)), ("Progressing", "Observing"), 50
    ),
    "no-device-aborted": Walk(s.without_a_device, ask("abort"), ("Degraded", "User")),
    "no-device-artifact-lost": Walk(s.without_a_device, at_once(forget_artifacts, devices(None)), PROMOTED),
    "first-never-ready": Walk(s.first_not_ready, nothing, ("Degraded", "ProgressDeadline")),
    "first-late": Walk(fresh(), at_once(models(model_1=Model(ready_in=90.0)), until("Degraded")), SERVING),
    "first-corrected": Walk(s.first_not_ready, to_model(2), SERVING),
    "first-suspended": Walk(s.first_not_ready, suspend, SUSPENDED),
    "first-not-routed": Walk(fresh(), at_once(refuse_routes, until(ROUTING)), REJECTED),
    "first-routed-late": Walk(first_not_routed, accept_again, SERVING),
    "first-refused-and-taken-back": Walk(first_refused, accept_again, SERVING),
    "first-refused-edited": Walk(first_refused, at_once(hostname("a.example"), until(ROUTING)), REJECTED),
    "first-refused-no-gateway": Walk(first_refused, gateways(), SERVING),
    "first-not-routed-new-model": Walk(first_not_routed, to_model(2), CONVERTING, 2),
    "first-refused-new-model": Walk(first_refused, after(to_model(2), until("Held"), accept_again), PROMOTED),
    "first-not-routed-suspended": Walk(first_not_routed, suspend, SUSPENDED, 2),
    "first-not-routed-pods-lost": Walk(first_not_routed, lose_stable, DOWN, 5),
    "not-routed-refused-model": Walk(
        turned_back, at_once(revert, refuse_routes, lose_route, until(ROUTING), to_model(2)), HARM
    ),
    "first-aborted": Walk(s.first_not_ready, ask("abort"), ("Degraded", "User")),
    "first-crashes": Walk(s.first_not_ready, crash, ("Degraded", "CanaryUnhealthy")),
    "first-crashes-suspended-resumed": Walk(
        s.first_not_ready,
        after(crash, until(("Degraded", "CanaryUnhealthy")), suspend, until("Suspended"), resume),
        ("Degraded", "CanaryUnhealthy"),
    ),
    "artifact-lost": Walk(candidate(), at_once(until("Provisioning"), forget_artifacts, until("Converting")), PROMOTED),
}

STEPS: Mapping[str, Walk] = {
    "pods-of-second-step-missing": Walk(
        s.routing_second_step,
        at_once(pods_never_ready, replicas(20)),
        ("Degraded", "ProgressDeadline"),
    ),
    "paused-before-weight": Walk(candidate(rollout={"paused": True}), nothing, ("Held", "Paused")),
    "paused-before-weight-resumed": Walk(candidate(rollout={"paused": True}), after(until("Held"), unpause), PROMOTED),
    "paused-promoted-step": Walk(s.paused, promote_step, ("Held", "Paused")),
    "paused-resumed": Walk(s.paused, unpause, PROMOTED),
    "paused-without-a-gateway-promoted-step": Walk(s.paused, at_once(gateways(), promote_step, unpause), PROMOTED),
    "paused-promoted-full": Walk(s.paused, ask("promote"), PROMOTED),
    "pause-annotation": Walk(s.observing, lambda c: c.annotate("pause", "true"), ("Held", "Paused")),
    "pause-in-plan": Walk(
        candidate(rollout={"steps": [{"setWeight": 20}, {"pause": {}}]}), nothing, ("Held", "Paused")
    ),
    "pause-in-plan-promoted": Walk(
        candidate(rollout={"steps": [{"setWeight": 20}, {"pause": {}}]}),
        after(until("Held"), promote_step),
        PROMOTED,
    ),
    "leading-pause": Walk(
        candidate(rollout={"steps": [{"pause": {"duration": "10s"}}, {"setWeight": 30}]}), nothing, PROMOTED
    ),
    "only-100": Walk(candidate(rollout={"steps": [{"setWeight": 100}]}), nothing, PROMOTED),
    "only-0": Walk(candidate(rollout={"steps": [{"setWeight": 0}]}), nothing, PROMOTED),
    "promote-step": Walk(s.observing, promote_step, PROMOTED),
    "promote-full": Walk(s.observing, ask("promote"), PROMOTED),
    "metrics-back": Walk(s.metrics_gone, scrape_again, PROMOTED),
    "metrics-promoted-step": Walk(
        s.metrics_gone, at_once(promote_step, until("Progressing")), ("Held", "MetricsUnavailable")
    ),
    "metrics-promoted-full": Walk(s.metrics_gone, ask("promote"), PROMOTED),
    "metrics-deadline": Walk(
        candidate(rollout={"analysis": {"onMissingMetrics": "Abort"}}),
        after(until(("Progressing", "Observing")), stop_scraping),
        ("Degraded", "MetricsDeadline"),
    ),
    "split-accepted": Walk(s.split_refused, accept_again, PROMOTED),
    "split-contested": Walk(s.observing, after(contest, until(("Held", "SplitMismatch"))), PROMOTED),
    "split-promoted-step": Walk(
        s.split_refused, at_once(promote_step, until("Progressing")), ("Held", "SplitMismatch")
    ),
    "split-promoted-full": Walk(s.split_refused, after(ask("promote"), accept_again), PROMOTED),
    "undecided-promoted-step": Walk(s.undecided, at_once(promote_step, until("Progressing")), ("Held", "Inconclusive")),
    "undecided-promoted-full": Walk(s.undecided, ask("promote"), PROMOTED),
    "undecided-aborts": Walk(
        candidate(rollout={"analysis": {"onInconclusive": "Abort"}}),
        rate(0.5),
        ("Degraded", "Inconclusive"),
    ),
    "undecided-promotes": Walk(
        candidate(rollout={"analysis": {"onInconclusive": "Promote"}}),
        rate(0.5),
        PROMOTED,
        500,
    ),
    "incident-over": Walk(s.incident, stop_stable_errors, PROMOTED, 800),
    "incident-promoted-step": Walk(s.incident, promote_step, PROMOTED),
    "incident-promoted-full": Walk(s.incident, ask("promote"), PROMOTED),
    "no-full-scale": Walk(s.scaling, pods_never_ready, ("Degraded", "ProgressDeadline")),
    "pods-of-an-earlier-attempt": Walk(crashed_and_converting_again, crash, PROMOTED),
    "gateway-no-longer-named": Walk(s.observing, gateways(), ("Held", "Inconclusive")),
    "drain-by-maximum": Walk(s.draining, lambda c: c.steal_route((500_000, 500_000)), PROMOTED),
}


HARM_WALKS: Mapping[str, Walk] = {
    "errors": Walk(candidate(HARMFUL), nothing, HARM),
    "latency": Walk(candidate(Model(latency_ms=200.0)), nothing, HARM),
    "while-paused": Walk(s.paused, lambda c: c.models.update({2: HARMFUL}), HARM),
    "after-an-outage": Walk(s.metrics_gone, at_once(models(model_2=HARMFUL), scrape_again), HARM),
    "while-undecided": Walk(s.undecided, at_once(models(model_2=HARMFUL), rate(20.0)), HARM),
    "while-routing": Walk(s.routing_second_step, at_once(models(model_2=HARMFUL), pods_slow), HARM),
}


ABORTING: Mapping[str, Walk] = {
    "reverted-then-new": Walk(aborting(revert), to_model(3), PROMOTED),
    "reverted-then-back": Walk(aborting(revert), to_model(2), PROMOTED),
    "reverted-then-suspended": Walk(aborting(revert), suspend, SUSPENDED),
    "reverted-stable-down": Walk(aborting(revert), lose_stable, DOWN),
    "reverted-then-refused": Walk(aborting_with_refused_model_3(revert), to_model(3), HARM),
    "superseded-then-back": Walk(aborting(supersede), to_model(2), PROMOTED),
    "superseded-then-stable": Walk(aborting(supersede), revert, SERVING),
    "superseded-then-suspended": Walk(aborting(supersede), suspend, SUSPENDED),
    "superseded-then-refused": Walk(aborting_with_refused_model_3(to_model(4)), to_model(3), HARM),
    "suspended-then-resumed": Walk(aborting(suspend), resume, PROMOTED),
    "suspended-then-resumed-stable": Walk(aborting(suspend), at_once(resume, revert), SERVING),
    "suspended-then-resumed-stable-down": Walk(aborting(suspend), at_once(resume, revert, lose_stable), DOWN),
    "reverted-without-a-route": Walk(s.converting, at_once(throw_route_out, revert), REJECTED),
    "harm-then-new": Walk(candidate(HARMFUL), after(until("Aborting"), to_model(3), until(HARM)), PROMOTED),
}


NEWER: Mapping[str, Walk] = {
    "queued-after-promotion": Walk(
        meanwhile("Queue", to_model(3)), at_once(until(PROMOTED), until(CONVERTING)), PROMOTED
    ),
    "queued-after-harm": Walk(
        meanwhile("Queue", to_model(3), HARMFUL), at_once(until(HARM), until(CONVERTING)), PROMOTED
    ),
    "queued-only-the-newest": Walk(
        meanwhile("Queue", at_once(to_model(4), to_model(3))), at_once(until(PROMOTED), until(CONVERTING)), PROMOTED
    ),
    "queued-then-stable-again": Walk(meanwhile("Queue", to_model(3)), revert, SERVING),
    "queued-then-the-same-again": Walk(meanwhile("Queue", to_model(3)), to_model(2), PROMOTED),
    "queued-while-converting-engines": Walk(
        lambda: s.with_candidate(Model(converts_in=8.0), **builders.TENSORRT, rollout={"onNewRevision": "Queue"}),
        at_once(until("Converting"), to_model(3), until(PROMOTED), until(CONVERTING)),
        PROMOTED,
    ),
    "queued-artifact-lost": Walk(
        candidate(rollout={"onNewRevision": "Queue"}),
        at_once(until("Provisioning"), to_model(3), forget_artifacts, until("Converting"), until(PROMOTED)),
        PROMOTED,
    ),
    "queued-behind-the-first": Walk(
        lambda: s.new_cluster(rollout={"onNewRevision": "Queue"}), at_once(until("Converting"), to_model(2)), SERVING
    ),
    "rejected": Walk(meanwhile("Reject", to_model(3)), until(PROMOTED), REJECTED_REVISION),
    "rejected-after-harm": Walk(meanwhile("Reject", to_model(3), HARMFUL), until(HARM), REJECTED_REVISION),
    "rejected-retried": Walk(
        meanwhile("Reject", to_model(3)), at_once(until(REJECTED_REVISION), ask("retry"), until(CONVERTING)), PROMOTED
    ),
    "rejected-then-another": Walk(
        meanwhile("Reject", to_model(3)), at_once(until(REJECTED_REVISION), to_model(4)), PROMOTED
    ),
    "rejected-then-stable-and-named-anew": Walk(
        meanwhile("Reject", to_model(3)),
        at_once(until(REJECTED_REVISION), to_model(2), until(SERVING), to_model(3), until(CONVERTING)),
        PROMOTED,
    ),
    "rejected-while-draining": Walk(
        candidate(rollout={"onNewRevision": "Reject"}), at_once(until("Draining"), to_model(3)), REJECTED_REVISION
    ),
    "rejected-then-suspended-and-resumed": Walk(
        meanwhile("Reject", to_model(3)),
        at_once(until(REJECTED_REVISION), suspend, until(SUSPENDED), resume),
        REJECTED_REVISION,
    ),
}

BACK_IN_ONE_JUMP: Mapping[str, Walk] = {
    "to-what-was-stable": Walk(s.promoted, at_once(to_model(1), until(BACK)), ROLLED_BACK, 60),
    "without-a-gateway": Walk(promoted(gateway=False), to_model(1), ROLLED_BACK, 60),
    "after-harm": Walk(after_model_3(models(model_3=HARMFUL)), after(until(HARM), to_model(1)), ROLLED_BACK),
    "instead-of-another": Walk(after_model_3(nothing), to_model(1), ROLLED_BACK),
    "while-aborting": Walk(after_model_3(to_model(2)), at_once(until("Aborting"), to_model(1)), ROLLED_BACK),
    "when-stable-is-down": Walk(s.promoted, at_once(lose_stable, until(DOWN), to_model(1)), ROLLED_BACK),
    "when-resumed": Walk(s.promoted, at_once(suspend, until(SUSPENDED), to_model(1), resume), ROLLED_BACK),
    "when-starting-again": Walk(
        s.promoted, after(suspend, at_once(resume, until("Pending"), to_model(1))), ROLLED_BACK
    ),
    "after-a-failed-conversion": Walk(
        s.promoted,
        at_once(models(model_3=Model(exit_code=ExitCode.INVALID_MODEL)), to_model(3), until("Degraded"), to_model(1)),
        ROLLED_BACK,
    ),
    "when-not-routed": Walk(
        s.promoted,
        at_once(refuse_routes, lose_route, until(ROUTING), to_model(1), until(BACK), accept_again),
        ROLLED_BACK,
    ),
    "queued": Walk(after_model_3(nothing, rollout={"onNewRevision": "Queue"}), to_model(1), ROLLED_BACK),
    "and-forth": Walk(s.promoted, at_once(to_model(1), until(ROLLED_BACK), to_model(2), until(CONVERTING)), PROMOTED),
    "again": Walk(
        s.promoted,
        at_once(to_model(1), until(ROLLED_BACK), to_model(2), until(PROMOTED), to_model(1), until(BACK)),
        ROLLED_BACK,
    ),
    "closed": Walk(promoted(rollbackWindow={"revisions": 0}), at_once(to_model(1), until(CONVERTING)), PROMOTED),
    "over": Walk(promoted(rollbackWindow={"duration": "4s"}), at_once(to_model(1), until(CONVERTING)), PROMOTED),
    "beyond-the-last": Walk(
        promoted(rollbackWindow={"revisions": 1}),
        at_once(to_model(3), until(CONVERTING), until(PROMOTED), to_model(1), until(CONVERTING)),
        PROMOTED,
    ),
    "before-the-last": Walk(
        s.promoted, at_once(to_model(3), until(CONVERTING), until(PROMOTED), to_model(1)), ROLLED_BACK, 300
    ),
    "artifact-lost-before": Walk(s.promoted, at_once(forget_artifacts, to_model(1), until(CONVERTING)), PROMOTED),
    "config-lost-meanwhile": Walk(s.rolling_back, lose_config, ROLLED_BACK, 60),
    "all-lost-meanwhile": Walk(
        s.rolling_back,
        at_once(lose_all_of_model_1, until(UNAVAILABLE), ask("promote", "/0"), until(CONVERTING)),
        PROMOTED,
    ),
    "paused-resumed": Walk(s.rolling_back_paused, unpause, ROLLED_BACK, 60),
    "paused-promoted-step": Walk(s.rolling_back_paused, promote_step, ROLLED_BACK, 60),
    "paused-promoted-full": Walk(s.rolling_back_paused, ask("promote"), ROLLED_BACK, 60),
    "paused-promoted-without-a-gateway": Walk(
        promoted(gateway=False, rollout={"paused": False}),
        at_once(pause, to_model(1), until(PAUSED), promote_step, until(DRAINING)),
        ROLLED_BACK,
    ),
    "paused-once-it-moves": Walk(s.rolling_back_swapping, pause, ROLLED_BACK, 60),
    "no-device-then-some": Walk(s.rolling_back_without_a_device, devices_of_model_1(None), ROLLED_BACK, 60),
    "no-device": Walk(s.rolling_back_without_a_device, nothing, UNAVAILABLE),
    "no-device-for-a-pod-too-many": Walk(
        s.rolling_back_without_a_device, at_once(one_pod_more, devices_of_model_1(2)), ROLLED_BACK, 60
    ),
    "ready-late": Walk(s.rollback_unavailable, mend_model_1, ROLLED_BACK, 60),
    "unavailable-promoted": Walk(
        s.rollback_unavailable, at_once(ask("promote", "/0"), until("Provisioning"), mend_model_1), PROMOTED
    ),
    "unavailable-promoted-full": Walk(
        s.rollback_unavailable,
        at_once(ask("promote"), until("Provisioning"), mend_model_1, until(("Promoting", "Scaling"))),
        PROMOTED,
        30,
    ),
    "superseded": Walk(s.rolling_back, at_once(to_model(3), until(ROLLED_BACK), until(CONVERTING)), PROMOTED),
    "superseded-while-held": Walk(s.rollback_unavailable, at_once(to_model(3), until("Aborting")), PROMOTED),
    "superseded-by-what-is-held-then": Walk(
        s.rolling_back,
        at_once(models(model_1=Model(ready_in=None)), forget_pods, to_model(3), until("Aborting")),
        PROMOTED,
    ),
    "rejecting": Walk(
        promoted(rollout={"onNewRevision": "Reject"}),
        at_once(to_model(1), until(BACK), to_model(3), until(ROLLED_BACK)),
        REJECTED_REVISION,
    ),
    "aborted-then-retried": Walk(
        s.rolling_back, at_once(ask("abort"), until(("Degraded", "User")), ask("retry"), until(CONVERTING)), PROMOTED
    ),
}

WALKS: Mapping[str, Walk] = {
    f"{group}-{name}": walk
    for group, walks in (
        ("rest", AT_REST),
        ("before", BEFORE_TRAFFIC),
        ("step", STEPS),
        ("harm", HARM_WALKS),
        ("aborting", ABORTING),
        ("newer", NEWER),
        ("back", BACK_IN_ONE_JUMP),
    )
    for name, walk in walks.items()
}
