"""`Guard(oracle=…)` with a function, with an oracle of one's own, and with what is neither."""

import pytest

from guardrail import ConfigError, ContentBlocked, OracleError
from guardrail.oracles import FunctionOracle, Judgement, Outcome


def is_forbidden(text):
    return "forbidden" in text


async def is_forbidden_async(text):
    return 0.9 if "forbidden" in text else 0.2


def guard_of(kit, oracle, text="A picture."):
    return kit.make_guard(lambda _: kit.completion(text), oracle=oracle)


@pytest.mark.parametrize("function", [is_forbidden, is_forbidden_async])
def test_a_function_judges_and_is_named_in_the_certificate(kit, function):
    with guard_of(kit, function) as guard:
        about = guard.complete_sync(kit.request(1))["guardrail"]
        assert about["decision"] == "pass"
        decided = guard.decide_sync(kit.request(1, seed=3))
        revision = decided.verdict.certificate.oracle_revision
    assert revision == FunctionOracle(function).revision
    with guard_of(kit, function, kit.HARM) as guard, pytest.raises(ContentBlocked):
        guard.complete_sync(kit.request(1))


@pytest.mark.parametrize("value", [None, "harmless", 7, [False]])
def test_a_wrong_answer_of_the_function_passes_nothing(kit, value):
    with guard_of(kit, lambda _: value) as guard, pytest.raises(OracleError, match="returned"):
        guard.complete_sync(kit.request(1))


def test_a_crash_of_the_function_passes_nothing(kit):
    def crash(text):
        raise KeyError(text)

    with guard_of(kit, crash) as guard, pytest.raises(OracleError, match="raised KeyError"):
        guard.complete_sync(kit.request(1))


class Own:
    """An oracle whose judgements are what a test says."""

    revision = "own 1"

    def __init__(self, judgements):
        self.judgements = judgements

    async def judge(self, exchanges):
        return self.judgements(exchanges)

    async def aclose(self):
        pass


def test_an_oracle_of_ones_own_is_named_too(kit):
    own = Own(lambda exchanges: [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges])
    with guard_of(kit, own) as guard:
        certificate = guard.decide_sync(kit.request(1)).verdict.certificate
    assert certificate.oracle_revision == "own 1"


@pytest.mark.parametrize(
    "judgements",
    [
        lambda _: [],
        lambda exchanges: [True for _ in exchanges],
        lambda exchanges: [None for _ in exchanges],
        lambda _: None,
        lambda exchanges: [Judgement(Outcome.HARMLESS, float("nan")) for _ in exchanges],
        lambda exchanges: [Judgement("harmless", 0.0) for _ in exchanges],
    ],
)
def test_what_is_no_judgement_passes_nothing(kit, judgements):
    with guard_of(kit, Own(judgements)) as guard, pytest.raises(OracleError):
        guard.complete_sync(kit.request(1))


@pytest.mark.parametrize("given", [42, "builtin", Own, object()])
def test_what_is_no_oracle_is_refused(kit, given):
    with pytest.raises(ConfigError, match="oracle"):
        guard_of(kit, given)
