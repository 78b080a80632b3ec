"""Answers that say that a cache gave them, and caches that keep no answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.upstreams.cached import names_cache_hit
from guardrail.upstreams.wire import answer_from

HITS = [
    {"x-cache": "HIT"},
    {"X-Cache": "Hit from cloudfront"},
    {"x-cache": "MISS, HIT"},
    {"x-cache": "TCP_HIT"},
    {"x-cache-status": "HIT"},
    {"x-proxy-cache": "hit"},
    {"cf-cache-status": "HIT"},
    {"cf-aig-cache-status": "HIT"},
    {"x-portkey-cache-status": "SEMANTIC HIT"},
    {"Helicone-Cache": "HIT"},
    {"cache-status": 'ExampleCache; hit; ttl="300"'},
    {"x-cache-hit": "true"},
    {"x-cache-hits": "1"},
    {"x-litellm-cache-key": "a1b2c3"},
    {"age": "12"},
]
MISSES = [
    {},
    {"x-cache": "MISS"},
    {"x-cache": "Miss from cloudfront"},
    {"x-cache-hits": "0"},
    {"x-cache-hit": "false"},
    {"cf-cache-status": "DYNAMIC"},
    {"cf-aig-cache-status": "MISS"},
    {"x-portkey-cache-status": "DISABLED"},
    {"cache-status": "ExampleCache; fwd=miss; stored"},
    {"cache-control": "private, max-age=0"},
    {"x-litellm-cache-key": ""},
    {"age": "0"},
    {"age": "unknown"},
    {"x-request-id": "hit-cache-1"},
    {"x-whitelist": "cache hit"},
    # Of prompts: states of the model, and no answers.
    {"x-prompt-cache": "HIT"},
    {"x-prefix-cache-status": "HIT"},
    {"x-kv-cache-status": "hit"},
    {"x-cached-tokens": "800"},
    {"anthropic-cache-read-input-tokens": "800"},
]


@pytest.mark.parametrize("headers", HITS, ids=str)
def test_a_hit_is_named(headers):
    assert names_cache_hit(headers)


@pytest.mark.parametrize("headers", MISSES, ids=str)
def test_a_miss_is_none(headers):
    assert not names_cache_hit(headers)


@pytest.mark.parametrize("name", ["cache_hit", "cached", "from_cache", "is_cached"])
@pytest.mark.parametrize(
    ("value", "hit"), [(True, True), (False, False), (1, False), (None, False)]
)
def test_so_may_a_body(name, value, hit):
    assert names_cache_hit({}, {name: value}) is hit


@pytest.mark.parametrize("body", [None, [], "cache_hit", {"usage": {"cache_hit": True}}], ids=str)
def test_only_its_outermost_fields_count(body):
    assert not names_cache_hit({}, body)


def test_cached_tokens_of_a_providers_prompt_cache_are_no_output_hit():
    response = {
        "choices": [{"message": {"content": "A cat."}}],
        "usage": {
            "prompt_tokens": 900,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 800},
            "cache_read_input_tokens": 800,
            "prompt_cache_hit_tokens": 800,
        },
    }
    assert not answer_from(response, {"x-cache": "MISS"}).cached
    assert answer_from(response, {"x-cache": "HIT"}).cached


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=30), max_size=5), st.none())
def test_any_headers_are_read(headers, body):
    assert names_cache_hit(headers, body) in (True, False)
