"""Several policies that change while they are watched: names, gauges and canaries follow them."""

import asyncio
from types import SimpleNamespace

from guardrail.api.deployment import fixed_deployment
from guardrail.api.policy_set import PolicySet, ServedPolicy
from guardrail.api.refusals import Refusals
from guardrail.api.service import Service
from guardrail.engine.engine import Engine
from guardrail.engine.verdict import Action
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.policy.policy_list import ListedPolicy
from guardrail.telemetry.canary import CanaryResult
from guardrail.telemetry.gauges import DeploymentGauges
from guardrail.telemetry.telemetry import TelemetrySettings, open_telemetry
from guardrail.upstreams.scripted import Scripted


def service(kit, name, *, model, upstream):
    price = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
    policy = kit.make_policy(name=name, prices={model: price})
    engine = Engine(compile_policy(policy), upstream, kit.Words(), NoiseKey(bytes(32)))
    return Service(policy, engine)


def policy_set(*services):
    served = tuple(ServedPolicy(ListedPolicy(one.policy), one) for one in services)
    return PolicySet("digest", served)


def gauges_of(deployment, gauges=None):
    async def read():
        found = (gauges or DeploymentGauges(deployment)).collect()
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in found
            for sample in family.samples
        }

    return asyncio.run(read())


def test_names_of_a_new_set_are_learnt_and_old_ones_stay(kit):
    first = service(kit, "first", model="one", upstream=Scripted(["a"]))
    second = service(kit, "second", model="two", upstream=Scripted(["a"]))
    deployment = SimpleNamespace(current=policy_set(first))
    telemetry = open_telemetry(TelemetrySettings(models=("mine",), metrics_port=0))
    telemetry.watch(deployment)
    telemetry.observe("r-1")
    assert [telemetry.models.label(name) for name in ("mine", "one", "two")] == [
        "mine",
        "one",
        "other",
    ]
    deployment.current = policy_set(second)
    telemetry.observe("r-2")
    assert [telemetry.models.label(name) for name in ("one", "two")] == ["one", "two"]
    assert telemetry.upstreams.label("scripted") == "scripted"


def test_places_are_told_by_policy_and_faults_add_up_over_changes(kit):
    first = service(kit, "first", model="one", upstream=Scripted(["a"]))
    second = service(kit, "second", model="two", upstream=Scripted(["a"]))
    deployment = SimpleNamespace(current=policy_set(first, second), refusals=Refusals())
    gauges = DeploymentGauges(deployment)
    first.record_faults.total, second.record_faults.total = 2, 1
    read = gauges_of(deployment, gauges)
    assert read["guardrail_admission_free", "first"] == read["guardrail_admission_free", "second"]
    assert read["guardrail_record_faults_total",] == 3
    assert read["guardrail_refused_total", "path"] == 0
    deployment.current = policy_set(service(kit, "third", model="m", upstream=Scripted(["a"])))
    assert gauges_of(deployment, gauges)["guardrail_record_faults_total",] == 3
    deployment.current = policy_set(second)
    second.record_faults.total = 2
    assert gauges_of(deployment, gauges)["guardrail_record_faults_total",] == 4


def test_canaries_of_policies_that_decide_no_more_are_forgotten():
    metrics = open_telemetry(TelemetrySettings(metrics_port=0)).metrics
    result = CanaryResult("harmful", Action.BLOCK, Action.PASS, "", 0.0)
    for policy in ("old", "new"):
        metrics.count_canary(policy, result, 1.0)
    metrics.keep_canaries({"new"})

    def ok(policy):
        labels = {"policy": policy, "canary": "harmful"}
        return metrics.registry.get_sample_value("guardrail_canary_ok", labels)

    assert (ok("old"), ok("new")) == (None, 0.0)


def test_a_policy_that_is_not_changed_is_watched_as_well(kit):
    only = service(kit, "only", model="m", upstream=Scripted(["a"]))

    async def scenario():
        return fixed_deployment(only)

    deployment = asyncio.run(scenario())
    assert gauges_of(deployment)["guardrail_admission_waiting", "only"] == 0
