"""A policy that refers to a recall is the one that was measured, or is refused."""

import dataclasses
import json
import re
import typing

import pytest

from guardrail import Guard
from guardrail.cli.policy import promise_lines
from guardrail.engine.promise import Claim
from guardrail.engine.recall import RecallStatement, check_recall
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.facts import describe_rules
from guardrail.policy.load import load_policy
from guardrail.policy.recall import Recall
from guardrail.sealed import read_sealed, write_sealed
from guardrail.stats import NOT_HELD, radii_by_recall, recall_lower, recall_staircase
from guardrail.upstreams.scripted import Scripted

POLICY = "name: mine\nrecall: recall.yaml\nsmoothing: {claim: verdict}\noracle: {}\n"
HELD = [0.9] * 60 + [0.5] * 30
BLIND = 10


def recall(policy, **changes):
    radii = [*HELD, *[NOT_HELD] * BLIND]
    curve = recall_staircase(radii, (0.0, 0.4, 0.9), 0.01, 0.2)
    fields = {
        "policy": "mine",
        "policy_digest": policy_digest(policy),
        "claim": "verdict",
        "alpha": policy.smoothing.alpha,
        "sigma": policy.smoothing.sigma,
        "refusals_are_harmless": True,
        "retry": "undrawn",
        "retries": policy.advanced.limits.retries,
        "threats": None,
        "model": "m",
        "upstream": "u",
        "upstream_revision": "u 1",
        "oracle_revision": "o 1",
        "requests": 100,
        "draws": 100,
        "beta": 0.2,
        "delta": 0.01,
        "reaches": [dataclasses.asdict(r) for r in radii_by_recall(radii, 0.01, 0.2)],
        "curve": [
            {"radius": r, "recall_lower": low}
            for r, low in zip(curve.radii, curve.recall_lower, strict=True)
        ],
        "held": HELD,
        "not_held": {"harmless": BLIND, "refused": 0, "missing": 0, "undecided": 0},
        "clean": {"requests": 50, "passed": 48, "rate_lower": 0.8, "rate_upper": 0.999},
        "calls": 9000,
        "cost_usd": None,
        "data": "set.jsonl",
        "data_requests": 120,
        "data_clusters": 100,
        "data_digest": "a" * 64,
        "seed": 0,
        "code_version": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
    }
    return Recall.model_validate({**fields, **changes})


@pytest.fixture
def policy_file(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def refers(policy_file):
    """Writes a recall beside the policy that refers to it; returns the loaded policy."""

    def make(**changes):
        policy = load_policy(policy_file)
        write_sealed(policy_file.parent / "recall.yaml", recall(policy, **changes))
        return policy

    return make


@pytest.mark.parametrize("name", ["r.yaml", "r.json"])
def test_the_file_reads_back_what_was_written(tmp_path, policy_file, name):
    written = recall(load_policy(policy_file), delta=1e-05)
    write_sealed(tmp_path / name, written)
    assert read_sealed(tmp_path / name, Recall) == written.sealed()


def test_the_reference_does_not_change_the_policys_digest(policy_file, refers):
    """The file is bound to the digest, so the digest cannot depend on the file."""
    policy = refers()
    without = policy.model_copy(update={"recall": None})
    assert policy_digest(policy) == policy_digest(without)
    assert compile_policy(without).recall is None


def test_a_policy_tells_what_was_measured(refers):
    rules = compile_policy(refers())
    found = rules.recall
    assert (found.requests, found.draws, found.alpha) == (100, 100, rules.alpha)
    assert [reach.radius for reach in found.reaches] == [0.5, None, None]
    assert found.digest == recall(refers()).computed_digest()
    assert found.sentence == (
        "Of requests drawn like the 100 that were measured, at least 0.5 are such that no change "
        "of their pixels within 0.5 (decoded 8-bit pixels in [0, 1]) lets them pass, except with "
        "probability 0.001 a try (confidence 0.99 in this calibration). A recall of 0.9 or 0.99 "
        "was not shown. Of 50 clean requests, 48 passed under the same policy."
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sigma", 0.25),
        ("alpha", 0.002),
        ("claim", "harmlessness"),
        ("refusals_are_harmless", False),
        ("retry", "any"),
        ("retries", 1),
        ("policy_digest", "b" * 64),
    ],
)
def test_what_was_measured_under_another_policy_is_refused_by_name(refers, field, value):
    with pytest.raises(ConfigError, match=rf"another policy: {field} was") as caught:
        compile_policy(refers(**{field: value}))
    assert caught.value.field == field


def test_any_change_of_the_policy_is_noticed(refers, policy_file):
    refers()
    policy_file.write_text(POLICY + "sampling: {max_samples: 201}\n")
    with pytest.raises(ConfigError, match="policy_digest was"):
        compile_policy(load_policy(policy_file))


class TestThreats:
    """Shares against what the policy covers beside small changes of pixels."""

    WIDER = POLICY + "threats: {crops: {windows: 4, sees: 3}, suffix: {words: 2}}\n"
    SETTINGS: typing.ClassVar = {
        "crops": {"windows": 4, "sees": 3, "floor": 0.0999, "temperature": 0.0},
        "suffix": {"unit": "words", "most": 2, "floor": 0.0999, "temperature": 0.0},
    }

    def measured(self, draws=60, **changes):
        rows = [
            {
                "against": against,
                "setting": setting,
                "shown": shown,
                "share_lower": recall_lower(shown, 100, 0.01 / 2, 0.2),
            }
            for (against, setting), shown in zip(self.SETTINGS.items(), (70, 85), strict=True)
        ]
        rows[0].update(changes)
        return {"draws": draws, "shares": rows}

    @pytest.fixture
    def refers(self, policy_file, refers):
        policy_file.write_text(self.WIDER)
        return refers

    @pytest.mark.parametrize("name", ["r.yaml", "r.json"])
    def test_the_file_reads_back_what_was_written(self, tmp_path, policy_file, name):
        written = recall(load_policy(policy_file), threats=self.measured())
        write_sealed(tmp_path / name, written)
        assert read_sealed(tmp_path / name, Recall) == written.sealed()

    def test_a_policy_tells_what_was_measured(self, refers):
        rules = compile_policy(refers(threats=self.measured()))
        found = rules.recall
        assert found.view_draws == 60
        assert [(one.against, one.shown) for one in found.shares] == [("crops", 70), ("suffix", 85)]
        assert found.problem() == ""
        said = found.sentences(rules.threats.settings)
        assert list(said) == ["l2", "crops", "suffix"]
        assert said["l2"] == found.sentence
        text = "\n".join(promise_lines(rules, describe_rules(rules)))
        text = re.sub(r"\s+", " ", text)
        assert all(sentence in text for sentence in said.values())
        assert "guardrail recall --threats" not in text

    def test_what_was_not_measured_is_not_claimed(self, refers):
        rules = compile_policy(refers())
        assert (rules.recall.shares, rules.recall.view_draws) == ((), 0)
        assert list(rules.recall.sentences(rules.threats.settings)) == ["l2"]
        text = re.sub(r"\s+", " ", "\n".join(promise_lines(rules, describe_rules(rules))))
        assert "which share of forbidden requests they hold is measured by" in text

    @pytest.mark.parametrize(
        ("changed", "problem"),
        [
            ("{crops: {windows: 9, sees: 3}, suffix: {words: 2}}",
             "threats.crops was windows 4, sees 3, floor 0.0999, .* and is windows 9, sees 3"),
            ("{crops: {windows: 4, sees: 3}, suffix: {characters: 2}}",
             "threats.suffix was unit words, most 2, floor 0.0999, .* and is unit characters"),
            ("{crops: {windows: 4, sees: 3}}", "threats was crops, suffix and is crops now"),
            ("{}", "threats was crops, suffix and is not covered now"),
            ("{crops: {windows: 4, sees: 3}, suffix: {words: 2}, stickers: {max_share: 0.02}}",
             "threats was crops, suffix and is crops, stickers, sticker_place, suffix now"),
            ("{crops: {windows: 4, sees: 3}, suffix: {words: 2}, power: 0.9}",
             "policy_digest was"),
        ],
    )  # fmt: skip
    def test_other_settings_are_refused_by_name(self, refers, policy_file, changed, problem):
        refers(threats=self.measured())
        policy_file.write_text(f"{POLICY}threats: {changed}\n")
        with pytest.raises(ConfigError, match=problem) as caught:
            compile_policy(load_policy(policy_file))
        assert problem.startswith(caught.value.field)

    def test_another_floor_is_refused_by_name(self, refers):
        setting = {**self.SETTINGS["crops"], "floor": 0.2}
        with pytest.raises(ConfigError, match=r"floor 0.2, .* and is .* floor 0.0999, .* now"):
            compile_policy(refers(threats=self.measured(setting=setting)))

    def test_another_temperature_is_refused_by_name(self, refers):
        setting = {**self.SETTINGS["crops"], "temperature": "that of the request"}
        with pytest.raises(ConfigError, match=r"that of the request and is .* temperature 0.0 now"):
            compile_policy(refers(threats=self.measured(setting=setting)))

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"shown": 71}, "does not follow from its requests"),
            ({"shown": 101}, "more requests held against crops than were measured"),
            ({"share_lower": 0.99}, "does not follow from its requests"),
            ({"draws": 15}, "too few draws to show anything held against crops"),
            ({"draws": 10**12}, "more draws of a view than are ever made"),
        ],
    )
    def test_even_a_sealed_file_must_follow_from_its_requests(self, refers, changes, problem):
        with pytest.raises(ConfigError, match=f"not a valid recall: .*{problem}"):
            compile_policy(refers(threats=self.measured(**changes)))

    def test_an_edited_file_is_refused(self, tmp_path, policy_file):
        path = tmp_path / "r.json"
        write_sealed(path, recall(load_policy(policy_file), threats=self.measured()))
        edit(path, lambda fields: fields["threats"]["shares"][0].update(share_lower=0.9))
        with pytest.raises(ConfigError, match="changed after it was written"):
            read_sealed(path, Recall)


def edit(path, change):
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_an_edited_file_is_refused(tmp_path, policy_file):
    path = tmp_path / "r.json"
    write_sealed(path, recall(load_policy(policy_file)))
    edit(path, lambda fields: fields["reaches"][0].update(radius=0.9))
    with pytest.raises(ConfigError, match="changed after it was written"):
        read_sealed(path, Recall)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"reaches": [{"recall": 0.5, "radius": 0.9}]}, "its radii are not those"),
        ({"delta": 0.3}, "its curve is not the one"),
        ({"held": HELD[1:]}, "another number of requests"),
        ({"curve": [{"radius": 0.0, "recall_lower": 0.99}]}, "its curve is not the one"),
    ],
)
def test_even_a_sealed_file_must_follow_from_its_requests(refers, changes, problem):
    with pytest.raises(ConfigError, match=problem):
        compile_policy(refers(**changes))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x", "not a recall"),
        (b"a: 1", "not a valid recall"),
        (b"{", "not valid YAML"),
        (b"#" * (5 << 20), "more than 4194304 bytes"),
    ],
)
def test_what_is_no_recall_is_refused(tmp_path, content, problem):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        read_sealed(path, Recall)


def test_files_that_cannot_be_read_or_written_are_named(tmp_path, policy_file):
    with pytest.raises(ConfigError, match="the recall cannot be read"):
        read_sealed(tmp_path / "none.yaml", Recall)
    with pytest.raises(ConfigError, match="the recall cannot be written"):
        write_sealed(tmp_path / "no" / "r.yaml", recall(load_policy(policy_file)))


class Named:
    def __init__(self, revision):
        self.revision = revision


def test_another_model_or_oracle_is_refused_by_name(refers):
    found = compile_policy(refers()).recall
    check_recall(found, Named("u 1"), Named("o 1"))
    check_recall(None, Named("else"), Named("else"))
    with pytest.raises(ConfigError, match="with the model 'u 1', and here it is 'u 2'"):
        check_recall(found, Named("u 2"), Named("o 1"))
    with pytest.raises(ConfigError, match="with the oracle 'o 1', and here it is 'o 2'"):
        check_recall(found, Named("u 1"), Named("o 2"))
    assert found.speaks_of("m", "u 1", "o 1")
    assert not found.speaks_of("other", "u 1", "o 1")


class TestStatement:
    @pytest.fixture
    def sound(self, refers):
        return compile_policy(refers()).recall

    def test_a_measured_one_is_sound(self, sound):
        assert sound.problem() == ""
        assert isinstance(sound, RecallStatement)
        assert Claim.VERDICT.value == "verdict"

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"beta": 1.0}, "a probability out of range"),
            ({"delta": 0.0}, "a probability out of range"),
            ({"alpha": 1.5}, "a probability out of range"),
            ({"draws": 0}, "an impossible number"),
            ({"requests": 0}, "an impossible number"),
            ({"requests": 10**400}, "an impossible number"),
            ({"clean_passed": 51}, "more clean passes"),
            ({"requests": 11}, "too few requests"),
            ({"delta": 1e-300}, "too few requests"),
            ({"beta": 1 - 1e-16}, "too few requests"),
        ],
    )
    def test_what_cannot_be_is_found(self, sound, changes, problem):
        assert problem in dataclasses.replace(sound, **changes).problem()

    @pytest.mark.parametrize(
        ("radii", "problem"),
        [
            ((None, 0.5, None), "farther for a larger share"),
            ((0.2, 0.5, None), "farther for a larger share"),
            ((-0.1, None, None), "not a finite length"),
            ((float("inf"), None, None), "not a finite length"),
            ((0.5, 0.5, 0.5), "too few requests"),
        ],
    )
    def test_radii_that_cannot_be_are_found(self, sound, radii, problem):
        reaches = tuple(
            dataclasses.replace(reach, radius=radius)
            for reach, radius in zip(sound.reaches, radii, strict=True)
        )
        assert problem in dataclasses.replace(sound, reaches=reaches).problem()
        assert "other shares" in dataclasses.replace(sound, reaches=reaches[:2]).problem()


class Silent(Named):
    """An oracle that is never asked."""

    async def judge(self, exchanges):
        raise AssertionError(f"asked about {len(exchanges)} answers")

    async def aclose(self):
        pass


def test_a_guard_in_process_refuses_another_model_too(refers):
    policy = refers()
    Guard(policy, Scripted(["x"], model="u 1"), oracle=Silent("o 1")).close()
    with pytest.raises(ConfigError, match="with the model 'u 1', and here it is 'scripted'"):
        Guard(policy, Scripted(["x"]), oracle=Silent("o 1"))
    Guard(policy, None, oracle=Silent("o 1")).close()  # each call brings its own model
