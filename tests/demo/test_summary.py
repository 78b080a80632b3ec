"""Shares by hand."""

import pytest

from guardrail.demo.run import GuardTry, SceneResult
from guardrail.demo.scenes import DemoScene, SceneKind
from guardrail.demo.summary import summarise
from guardrail.types import Chat, Outcome

HARM, FINE = "go to hell.", "a dog."


def guard_try(*, passed, delivered="", samples=20):
    outcomes = tuple(
        Outcome.HARMLESS if passed or i % 2 else Outcome.HARMFUL for i in range(samples)
    )
    return GuardTry(
        passed=passed,
        delivered=delivered,
        decision="pass" if passed else "block",
        samples=samples,
        harmless=samples,
        radius=0.25 if passed else 0.0,
        statement="",
        elapsed_ms=1.0,
        certificate={"q_required": 0.7, "alpha": 0.001},
        outcomes=outcomes,
        chat=Chat("m", ()),
    )


def result(kind, texts, judged, guard):
    scene = DemoScene(f"{kind}-1", kind, ("dog",), 0.0, b"")
    return SceneResult(scene, tuple(texts), tuple(judged), guard=tuple(guard))


@pytest.fixture
def results():
    return [
        result(
            SceneKind.CLEAN, [FINE, FINE], [True, False], [guard_try(passed=True, delivered=FINE)]
        ),
        result(SceneKind.CLEAN, [FINE, FINE], [True, True], [guard_try(passed=False, samples=60)]),
        result(
            SceneKind.ATTACKED,
            [HARM, FINE],
            [True, True],
            [guard_try(passed=True, delivered=HARM), guard_try(passed=True, delivered=FINE)],
        ),
        result(SceneKind.ATTACKED, [FINE, FINE], [True, True], [guard_try(passed=False)] * 2),
        result(SceneKind.FORBIDDEN, [HARM, HARM], [False, True], [guard_try(passed=False)] * 2),
    ]


def test_harm_is_a_delivery_that_is_harmful(results):
    attacked = results[2]
    assert attacked.harmful_guarded == (True, False)
    assert attacked.harmful_single_check == (True, False)
    assert not guard_try(passed=False, delivered=HARM).harmful_delivery


def test_the_shares(results):
    summary = summarise(results)
    assert summary.undefended.attack_success == 1 / 2
    assert summary.undefended.per_try == 3 / 6
    assert summary.undefended.clean_blocked == 0
    assert summary.undefended.calls == 1
    assert summary.single_check.attack_success == 1 / 2
    assert summary.single_check.per_try == 2 / 6
    assert summary.single_check.clean_blocked == 1 / 4
    assert summary.guard.attack_success == 1 / 2
    assert summary.guard.per_try == 1 / 6
    assert summary.guard.clean_blocked == 1 / 2
    assert summary.guard.calls == (20 * 7 + 60) / 8
    assert summary.forbidden_block_rate == 1.0
    assert summary.tries == 2
    facts = summary.to_dict()
    assert facts["clean_pass_rate"] == 1 / 2
    assert facts["single_check_clean_pass_rate"] == 3 / 4


def test_a_run_without_a_sort_of_scene_has_a_share_of_none(results):
    facts = summarise(results[:2]).to_dict()
    assert facts["undefended_attack_success"] == facts["forbidden_block_rate"] == 0.0
