"""Known pictures through the proxy: told as what they are, never counted, never overridden."""

import hashlib

import pytest

from guardrail.policy.schema import KnownPicturesSection
from tests.server.conftest import png, request
from tests.server.test_overrides import ON, stand


@pytest.fixture
def known(tmp_path):
    """The section of a policy that lists the first picture of a request."""
    file = tmp_path / "known.txt"
    file.write_text(f"{hashlib.sha256(png(seed=0)).hexdigest()}\n")
    return {"known_pictures": KnownPicturesSection(lists=[str(file)]).model_dump()}


def test_it_is_a_block_with_a_reason_of_its_own_and_no_call(run, kit, known):
    async def scenario():
        async with kit.proxy(policy=kit.make_policy(**known)) as proxy:
            blocked = await proxy.chat(images=1)
            checked = await proxy.client.post("/v1/guardrail/check", json=request(images=1))
            calls = len(proxy.calls)
            fine = await proxy.chat(images=0)
            return blocked, checked, calls, fine

    blocked, checked, calls, fine = run(scenario())
    assert calls == 0
    assert blocked.status_code == 200
    assert blocked.headers["x-guardrail-reason"] == "known harmful picture"
    about = blocked.json()["guardrail"]
    assert (about["decision"], about["reason"]) == ("block", "known harmful picture")
    assert "known_picture" not in about  # how near it is, is for the operator
    assert blocked.json()["choices"][0]["finish_reason"] == "content_filter"
    assert checked.json()["guardrail"]["reason"] == "known harmful picture"
    assert fine.json()["guardrail"]["decision"] == "pass"


def test_an_override_does_not_let_it_through(run, kit, known, sqlite_url):
    async def scenario():
        policy = kit.make_policy(**ON, **known)
        async with stand(kit, sqlite_url, policy=policy) as here:
            blocked = await here.proxy.chat(images=1)
            here.override(blocked)
            again = await here.proxy.chat(images=1)
            return again, here.find(again), len(here.proxy.calls)

    again, record, calls = run(scenario())
    assert calls == 0
    assert again.json()["guardrail"]["reason"] == "known harmful picture"
    assert record.reason.value == "known harmful picture"
    assert record.certificate is None
