"""Several upstreams on the command line: check and serve as processes, against loopback servers."""

import json
import re
import urllib.request

import httpx
import pytest
from click.testing import CliRunner

from guardrail.assembly import build_engine, is_local, read_policy, read_upstreams
from guardrail.cli import check
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.errors import ConfigError
from guardrail.policy.upstreams import UpstreamEntry
from guardrail.stats import failover_alpha
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.scripted import Fault, Step

DOWN = [Step(fault=Fault.STATUS, status=503)]
NOWHERE = "openai_compatible:http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def harmless(monkeypatch, kit):
    """The real engine, with an oracle whose truth is known."""
    monkeypatch.setattr("guardrail.policy.oracle.compile_oracle", lambda _: kit.Words())


def spec(server):
    return f"openai_compatible:{server.base_url}"


def checked(*arguments):
    return CliRunner().invoke(check.command, [*map(str, arguments)], catch_exceptions=False)


@pytest.mark.nightly
def test_check_goes_on_to_the_next_one_and_verify_reads_its_record(kit, policy, pictures, tmp_path):
    records = tmp_path / "records.jsonl"
    with kit.model_server(DOWN) as one, kit.model_server([kit.CLEAN]) as two:
        result = checked(
            pictures / "a.png", "--policy", policy, "--json", "--records", records,
            "--upstream", spec(one), "--upstream", spec(two),
        )  # fmt: skip
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    certificate = decode_certificate(facts["certificate"])
    verify_certificate(certificate, facts["certificate"])
    assert certificate.upstream == spec(two)
    assert certificate.alpha == failover_alpha(0.001, 1, 2)
    record = json.loads(records.read_text().splitlines()[-1])
    assert record["upstream"] == spec(two)
    assert record["upstream_revision"] == certificate.upstream_revision
    assert kit.finish(kit.start("verify", records))[0] == 0


def test_check_fails_closed_where_all_are_down(kit, policy, pictures):
    with kit.model_server(DOWN) as one, kit.model_server(DOWN) as two:
        result = checked(pictures / "a.png", "--policy", policy, "--json", "--model", "m",
                         "--upstream", spec(one), "--upstream", spec(two))  # fmt: skip
    assert result.exit_code == 2
    facts = json.loads(result.stdout)
    assert (facts["action"], facts["reason"]) == ("fault", "upstream failed")
    assert facts["answer"] is None


def test_serve_by_a_file_with_a_model_map(kit, policy, tmp_path):
    with kit.model_server(DOWN) as one, kit.model_server([kit.CLEAN]) as two:
        file = tmp_path / "upstreams.yaml"
        file.write_text(
            "upstreams:\n"
            f"  - upstream: {spec(one)}\n    model_map: {{shared: first/name}}\n"
            f"  - upstream: {spec(two)}\n    model_map: {{shared: second-name}}\n"
        )
        process = kit.start("serve", "--upstreams", file, "--policy", policy, "--port", 0)
        try:
            line = process.stderr.readline()
            assert f"{spec(one)}, then {spec(two)}" in line
            url = re.search(r"at (http://127\.0\.0\.1:\d+)/v1$", line)[1]
            with urllib.request.urlopen(f"{url}/readyz", timeout=60) as response:  # noqa: S310
                assert response.status == 200
            with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
                listed = client.get("/v1/models").json()["data"]
                body = {"model": "shared", "messages": [{"role": "user", "content": "Hello"}]}
                answer = client.post("/v1/chat/completions", json=body)
        finally:
            process.terminate()
            _, _, told = kit.finish(process)
    assert [model["id"] for model in listed] == ["shared", "scripted"]
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == kit.CLEAN
    assert one.calls[0].body["model"] == "first/name"
    assert two.calls[0].body["model"] == "second-name"
    assert "Traceback" not in told


class TestTheEngineThatIsBuilt:
    def test_a_remote_model_has_a_gate_and_a_local_one_its_own_line(self, policy):
        read = read_policy(str(policy))
        assert isinstance(build_engine(read, NOWHERE, None).upstream, LimitedUpstream)
        local = build_engine(read, "builtin", None).upstream
        assert not isinstance(local, LimitedUpstream)
        limited = (UpstreamEntry(upstream="builtin", requests_per_minute=60.0),)
        assert isinstance(build_engine(read, limited, None).upstream, LimitedUpstream)

    def test_several_make_an_engine_that_fails_over(self, policy):
        engine = build_engine(read_policy(str(policy)), read_upstreams([NOWHERE] * 2), None)
        assert isinstance(engine, FailoverEngine)
        assert all(isinstance(member, LimitedUpstream) for member in engine.upstream.members)

    def test_one_has_the_whole_alpha(self, policy):
        engine = build_engine(read_policy(str(policy)), read_upstreams([NOWHERE]), None)
        assert type(engine) is Engine
        assert engine.rules.alpha == 0.001

    def test_a_policy_that_cannot_pass_at_its_share_is_refused_at_the_start(self, policy):
        text = policy.read_text() + "\n"
        policy.write_text(
            text.replace("{plan: fixed, max_parallel: 8}", "{plan: fixed, power: 0.5}")
            + "sampling: {max_samples: 21}\n"
        )
        read = read_policy(str(policy))
        build_engine(read, NOWHERE, None)
        with pytest.raises(ConfigError, match="at upstream 2 of 2"):
            build_engine(read, read_upstreams([NOWHERE] * 2), None)


class TestTheOptions:
    def test_the_builtin_model_is_the_default(self):
        (only,) = read_upstreams()
        assert only.upstream == "builtin"

    def test_both_options_at_once_are_refused(self, policy, pictures, tmp_path):
        with pytest.raises(ConfigError, match="not both"):
            checked(pictures / "a.png", "--policy", policy, "--upstream", "builtin",
                    "--upstreams", tmp_path / "file.yaml")  # fmt: skip

    def test_a_mistake_in_the_file_is_one_line(self, kit, policy, tmp_path):
        file = tmp_path / "upstreams.yaml"
        file.write_text("upstreams:\n  - upstream: builtin\n    keys: 3\n")
        code, _, told = kit.finish(kit.start("serve", "--upstreams", file, "--policy", policy))
        assert code == 2
        (line,) = told.splitlines()
        assert line.startswith(f"guardrail: {file}:3, field 'upstreams.0.keys': ")

    @pytest.mark.parametrize(
        ("specs", "local"),
        [(["builtin"], True), ([NOWHERE], False), (["builtin", "transformers:a/b"], True),
         (["builtin", NOWHERE], False)],
    )  # fmt: skip
    def test_all_models_are_known_only_where_all_are_local(self, specs, local):
        assert is_local(read_upstreams(specs)) is local
