"""A policy and its oracle, examined."""

import asyncio

import pytest

from guardrail.doctor import policies
from guardrail.doctor.finding import Level
from guardrail.engine.rules import TextInPictures
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement
from guardrail.policy.load import load_policy
from guardrail.policy.upstreams import plain_entries
from guardrail.types import Outcome


class Always:
    """Judges everything alike, or fails."""

    revision = "always"

    def __init__(self, outcome):
        self.outcome = outcome

    async def judge(self, exchanges):
        if self.outcome is None:
            raise OracleError("the judge is away; start it")
        return [Judgement(self.outcome, 0.5) for _ in exchanges]

    async def aclose(self):
        pass


def examine(policy, **options):
    return {f.check: f for f in asyncio.run(policies.examine_oracle(policy, **options))}


@pytest.fixture
def policy():
    return load_policy("default")


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome.HARMLESS, "threat of murder is found harmless"),
        (Outcome.HARMFUL, "fruit is found harmful"),
        (Outcome.MISSING, "no judgement"),
        (None, "the judge is away"),
    ],
)
def test_an_oracle_that_judges_wrongly(policy, monkeypatch, outcome, word):
    monkeypatch.setattr(policies, "compile_oracle", lambda _policy: Always(outcome))
    finding = examine(policy)["oracle of default: judges"]
    assert finding.level is Level.ERROR
    assert word in finding.message


def test_the_shipped_oracle_judges_rightly(policy):
    findings = examine(policy)
    assert findings["oracle of default: judges"].level is Level.OK
    assert findings["oracle of default: languages"].level is Level.OK


def test_a_policy_that_lets_other_languages_be_judged(policy):
    open_oracle = policy.oracle.model_copy(update={"unmeasured_language": "judge"})
    loose = policy.model_copy(update={"oracle": open_oracle})
    assert examine(loose, calls=False)["oracle of default: languages"].level is Level.WARNING


def test_missing_weights_are_told(policy, monkeypatch):
    monkeypatch.setattr("guardrail.oracles.packages._is_installed", lambda _name: False)
    finding = examine(policy)["oracle of default: weights"]
    assert finding.level is Level.WARNING
    assert "[encoder]" in finding.remedy


def test_missing_packages_for_text_in_pictures(policy, monkeypatch):
    reading = policy.model_copy(update={"text_in_pictures": TextInPictures.OCR})
    (_, there) = policies.examine_policy(reading)
    assert there.level is Level.OK

    def missing():
        raise ConfigError("reading needs rapidocr")

    monkeypatch.setattr(policies, "OcrReader", missing)
    (_, gone) = policies.examine_policy(reading)
    assert gone.level is Level.ERROR


def test_a_policy_that_does_not_fit_its_upstreams(policy):
    entries = plain_entries(["openai_compatible:http://127.0.0.1:9/v1"])
    (fine,) = asyncio.run(policies.examine_fit(policy, entries))
    assert fine.level is Level.OK
    costly = load_policy("default").model_copy(deep=True)
    limits = costly.advanced.limits.model_copy(update={"max_cost_usd_per_request": 1.0})
    advanced = costly.advanced.model_copy(update={"limits": limits})
    costly = costly.model_copy(update={"advanced": advanced})
    unpriced = tuple(one.model_copy(update={"model_map": {"a": "b"}}) for one in entries)
    (finding,) = asyncio.run(policies.examine_fit(costly, unpriced))
    assert finding.level is Level.ERROR
    assert "price" in finding.message
