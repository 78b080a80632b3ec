"""The upstreams file: what it says arrives, what is wrong is named, and keys stay out of it."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guardrail.errors import ConfigError
from guardrail.policy.upstreams import (
    UpstreamEntry,
    UpstreamsFile,
    load_upstreams,
    open_late_upstream,
    open_upstream,
    plain_entries,
)
from guardrail.types import Chat
from guardrail.upstreams.base import price_share, undrawn_statuses
from guardrail.upstreams.batches.settings import BatchSettings
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.scripted_server import scripted_server

URL = "openai_compatible:http://127.0.0.1:9/v1"
SECRET = "sk-very-secret-0123456789"
LIMIT = {"max_completion_tokens": 9}
FULL = f"""
upstreams:
  - upstream: {URL}
    api_key_env: FIRST_KEY
    headers_env:
      X-Organisation: FIRST_ORGANISATION
    model_map:
      vision: provider/vision-1
    token_limit_name: max_tokens
    direct: true
    undrawn: [503, 529]
    seeds: true
    timeout_s: 30
    max_concurrency: 16
    max_queue: 100
    requests_per_minute: 600
    tokens_per_minute: 90000
    longest_pause_s: 20
    breaker:
      faults: 5
      after_s: 2
      open_s: 30
  - upstream: builtin
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("FIRST_KEY", SECRET)
    monkeypatch.setenv("FIRST_ORGANISATION", "us")


def test_every_field_arrives(write):
    first, second = load_upstreams(write(FULL))
    assert first.upstream == URL
    assert first.limits == CallLimits(
        max_concurrency=16,
        max_queue=100,
        requests_per_minute=600.0,
        tokens_per_minute=90000.0,
        longest_pause_s=20.0,
        breaker_faults=5,
        breaker_after_s=2.0,
        breaker_open_s=30.0,
        first_alone_s=2.0,
    )
    assert (first.is_local, second.is_local) == (False, True)
    assert (first.direct, first.undrawn, first.seeds) == (True, (503, 529), True)
    assert (second.direct, second.undrawn, second.seeds) == (None, (), False)


def test_what_is_left_out_has_the_usual_limits():
    assert UpstreamEntry(upstream=URL).limits == CallLimits(first_alone_s=2.0)


def test_a_model_in_this_process_has_no_limit_of_its_own_on_calls():
    assert UpstreamEntry(upstream="builtin").limits.max_concurrency > 1000
    assert UpstreamEntry(upstream="builtin", max_concurrency=3).limits.max_concurrency == 3


def entry(text):
    """A file with one entry: the upstream on line 2, what is given from line 3."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    return f"upstreams:\n  - upstream: {URL}\n{lines}"


MISTAKES = {
    "unknown field": ("colour: no", 3, "upstreams.0.colour", "docs/upstreams.md"),
    "unknown nested field": ("breaker:\n  size: 3", 4, "upstreams.0.breaker.size", "no such field"),
    "a key, not its variable": ("api_key_env: sk-1-2", 3, "upstreams.0.api_key_env", "pattern"),
    "no calls": ("max_concurrency: 0", 3, "upstreams.0.max_concurrency", "of at least 1"),
    "half a call": ("max_concurrency: 1.5", 3, "upstreams.0.max_concurrency", "whole"),
    "no rate": ("requests_per_minute: 0", 3, "upstreams.0.requests_per_minute", "above 0"),
    "an endless rate": ("tokens_per_minute: .inf", 3, "upstreams.0.tokens_per_minute", "finite"),
    "no name of a limit": ("token_limit_name: tokens", 3, "upstreams.0.token_limit_name", "max_"),
    "a status that never passes": ("undrawn: [400]", 3, "upstreams.0.undrawn", "408, 409, 425"),
    "429 among others": ("undrawn: [503, 429]", 3, "upstreams.0.undrawn", "direct: true"),
    "no list of statuses": ("undrawn: 503", 3, "upstreams.0.undrawn", "give a list"),
    "a word for direct": ("direct: maybe", 3, "upstreams.0.direct", "true or false"),
    "a number as text": ("timeout_s: '3'", 3, "upstreams.0.timeout_s", "give a number"),
    "no faults": ("\nbreaker: {faults: 0}", 4, "upstreams.0.breaker.faults", "at least 1"),
    "an unset variable": ("api_key_env: NOT_SET", 3, "upstreams.0.api_key_env", "NOT_SET"),
    "an unset variable of a header": (
        "headers_env:\n  X-A: NOT_SET", 4, "upstreams.0.headers_env.X-A", "NOT_SET"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "field", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_name_file_line_and_field(write, text, line, field, words):
    path = write(entry(text), "upstreams.yaml")
    with pytest.raises(ConfigError) as raised:
        load_upstreams(path)
    error = raised.value
    assert (error.file, error.line, error.field) == (str(path), line, field)
    assert words in str(error)


def test_the_second_entry_is_named_too(write):
    path = write(f"upstreams:\n  - upstream: {URL}\n  - upstream: builtin\n    max_queue: 0\n")
    with pytest.raises(ConfigError) as raised:
        load_upstreams(path)
    assert (raised.value.line, raised.value.field) == (4, "upstreams.1.max_queue")


@pytest.mark.parametrize(
    "text",
    ["", "- upstream: builtin", "upstreams: []", "upstreams: 3", "upstreams: [", "a: 1",
     "upstreams: [builtin]", "\x00"],
)  # fmt: skip
def test_a_file_of_another_shape_is_refused(write, text):
    path = write(text, "upstreams.yaml")
    with pytest.raises(ConfigError) as raised:
        load_upstreams(path)
    assert str(raised.value).startswith(str(path))


def test_too_many_are_refused(write):
    lines = "".join("  - upstream: builtin\n" for _ in range(9))
    with pytest.raises(ConfigError, match="at most 8"):
        load_upstreams(write(f"upstreams:\n{lines}"))


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="list of upstreams cannot be read"):
        load_upstreams(tmp_path / "none.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "upstreams.yaml"
    path.write_bytes(data)
    try:
        assert load_upstreams(path)
    except ConfigError as error:
        assert error.file == str(path)  # noqa: PT017 (either way is right)


@pytest.mark.parametrize(
    "field",
    [{"api_key_env": "FIRST_KEY"}, {"headers_env": {"X": "FIRST_KEY"}}, {"model_map": {"a": "b"}},
     {"timeout_s": 3.0}, {"token_limit_name": "max_tokens"}, {"direct": True},
     {"undrawn": (503,)}, {"seeds": True}],
)  # fmt: skip
@pytest.mark.parametrize("spec", ["builtin", "transformers:some/model"])
def test_a_model_in_this_process_takes_nothing_of_the_network(spec, field):
    with pytest.raises(ValidationError, match=f"takes no {next(iter(field))}"):
        UpstreamEntry(upstream=spec, **field)


def test_how_a_model_in_this_process_computes(write):
    text = "device: cpu\ndtype: bfloat16\nmax_batch: 8"
    (found,) = load_upstreams(write(entry(text).replace(URL, "transformers:org/model")))
    assert not found.is_plain
    assert open_upstream(found).revision == "org/model-bfloat16"


@pytest.mark.parametrize("spec", ["builtin", URL, "litellm:openai/gpt-4o"])
@pytest.mark.parametrize("field", [{"device": "cpu"}, {"dtype": "float32"}, {"max_batch": 4}])
def test_other_models_take_nothing_of_that(spec, field):
    with pytest.raises(ValidationError, match=f"takes {next(iter(field))}"):
        UpstreamEntry(upstream=spec, **field)


@pytest.mark.parametrize("field", [{"dtype": "int8"}, {"device": "the moon"}, {"max_batch": 0}])
def test_what_no_model_computes_with_is_told_at_the_start(field):
    with pytest.raises(ValidationError):
        UpstreamEntry(upstream="transformers:org/model", **field)


def test_what_an_upstream_does_not_take_is_told(write):
    (found,) = load_upstreams(write("upstreams:\n  - upstream: litellm:openai/gpt-4o\n"
                                    "    model_map: {a: b}\n"))  # fmt: skip
    with pytest.raises(ConfigError, match="takes no option model_map"):
        open_upstream(found)


def asked(entries, model="vision"):
    """What a server is sent by the first entry, its address put in."""

    async def scene():
        async with scripted_server(["a"], model="fake") as server:
            place = f"openai_compatible:{server.base_url}"
            upstream = open_upstream(entries(place)[0], variant_format="png")
            try:
                chat = Chat(model, ({"role": "user", "content": "Hello"},), LIMIT)
                await upstream.complete(chat, (), seed=0)
                return server.calls[0], upstream
            finally:
                await upstream.aclose()

    return asyncio.run(scene())


def test_keys_headers_and_names_are_sent_and_shown_nowhere(write):
    def entries(place):
        return load_upstreams(write(FULL.replace(URL, place)))

    call, upstream = asked(entries)
    assert call.headers["authorization"] == f"Bearer {SECRET}"
    assert call.headers["x-organisation"] == "us"
    assert call.body["model"] == "provider/vision-1"
    assert call.body["max_tokens"] == LIMIT["max_completion_tokens"]
    assert call.body["seed"] == 0
    assert undrawn_statuses(upstream) == {429, 503, 529}
    assert SECRET not in repr(upstream) + upstream.name + upstream.revision


@pytest.mark.parametrize(
    ("spec", "text", "statuses"),
    [
        (URL, "", set()),
        (URL, "direct: true", {429}),
        (URL, "undrawn: [503]", {503}),
        ("openai_compatible:https://api.openai.com/v1", "", {429}),
        ("openai_compatible:https://api.openai.com/v1", "direct: false", set()),
        ("litellm:anthropic/claude-sonnet-4-5", "", {429}),
        ("litellm:anthropic/claude-sonnet-4-5", "direct: false\nundrawn: [529]", {529}),
        ("litellm:openrouter/openai/gpt-4o", "", set()),
    ],
)
def test_by_which_statuses_nothing_was_drawn(write, spec, text, statuses):
    """By the table of known providers, unless the file says otherwise."""
    (found,) = load_upstreams(write(entry(text).replace(URL, spec)))
    assert undrawn_statuses(open_upstream(found)) == statuses


def test_a_file_sends_no_key_that_it_does_not_name(write, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    call, _ = asked(lambda place: load_upstreams(write(entry("").replace(URL, place))))
    assert "authorization" not in call.headers


class TestPlainEntries:
    def test_the_usual_variable_holds_the_key_of_the_first_one_only(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        entries = plain_entries(["builtin", URL, URL])
        assert [one.api_key_env for one in entries] == [None, "OPENAI_API_KEY", None]
        call, _ = asked(lambda place: plain_entries([place]))
        assert call.headers["authorization"] == f"Bearer {SECRET}"

    @pytest.mark.parametrize("value", [None, "", "  "])
    def test_without_it_none_is_sent(self, monkeypatch, value):
        if value is not None:
            monkeypatch.setenv("OPENAI_API_KEY", value)
        call, _ = asked(lambda place: plain_entries([place]))
        assert "authorization" not in call.headers

    def test_they_say_no_more_than_where_the_models_are(self):
        assert [one.is_plain for one in plain_entries(["builtin", URL])] == [True, True]
        assert not UpstreamEntry(upstream="builtin", max_queue=4).is_plain


def test_every_field_is_told_in_the_docs(repository):
    text = (repository / "docs" / "upstreams.md").read_text()
    breaker = UpstreamEntry.model_fields["breaker"].annotation
    for name in [*UpstreamsFile.model_fields, *UpstreamEntry.model_fields, *breaker.model_fields]:
        assert f"{name}:" in text, name


def test_the_example_of_the_docs_can_be_read(repository, write, monkeypatch):
    text = (repository / "docs" / "upstreams.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    for name in ("FIRST_KEY", "FIRST_ORGANISATION", "SECOND_KEY"):
        monkeypatch.setenv(name, "x")
    assert len(load_upstreams(write(example, "upstreams.yaml"))) == 2


def test_what_says_nothing_is_left_out(write):
    text = "x-a: &a {requests_per_minute: 9}\n" + entry("\n<<: *a\nbreaker:").lstrip("\n")
    (found,) = load_upstreams(write(text, "upstreams.yaml"))
    assert found.requests_per_minute == 9


class TestKeyFiles:
    """Keys in files, as container platforms hand them over."""

    def open_named(self, tmp_path, fields):
        file = tmp_path / "upstreams.yaml"
        file.write_text(
            f"upstreams:\n  - upstream: openai_compatible:http://127.0.0.1:1/v1\n    {fields}\n"
        )
        (entry,) = load_upstreams(file)
        return open_upstream(entry).upstream

    def test_beside_the_file_of_upstreams(self, tmp_path):
        (tmp_path / "provider.key").write_text("sk-from-file\n")
        upstream = self.open_named(tmp_path, "api_key_file: provider.key")
        assert "sk-from-file" in str(vars(upstream))
        assert "sk-from-file" not in repr(upstream)

    def test_by_a_variable(self, tmp_path, monkeypatch):
        (tmp_path / "provider.key").write_text("sk-from-variable\n")
        monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "provider.key"))
        upstream = self.open_named(tmp_path, "api_key_env: SOME_KEY")
        assert "sk-from-variable" in str(vars(upstream))

    def test_openai_s_own(self, tmp_path, monkeypatch):
        (tmp_path / "provider.key").write_text("sk-openai\n")
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "provider.key"))
        (entry,) = plain_entries(["openai_compatible:http://127.0.0.1:1/v1"])
        assert "sk-openai" in str(vars(open_upstream(entry).upstream))

    def test_a_missing_one_is_told(self, tmp_path):
        with pytest.raises(ConfigError, match="the key file cannot be read"):
            self.open_named(tmp_path, "api_key_file: none.key")

    def test_one_key_is_enough(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SOME_KEY", "k")
        with pytest.raises(ConfigError, match="api_key_env or api_key_file"):
            self.open_named(tmp_path, "api_key_env: SOME_KEY\n    api_key_file: x")


# Batches

BATCH = "litellm_batch:openai/gpt-4o-mini"


def test_every_field_of_batches_arrives(write):
    pytest.importorskip("litellm")
    (entry,) = load_upstreams(
        write(f"""
upstreams:
  - upstream: {BATCH}
    api_key_env: FIRST_KEY
    direct: false
    batch:
      ledger: jobs/batches.db
      api_base: http://127.0.0.1:9/v1
      max_requests: 10
      max_bytes: 2000
      settle_s: 3
      gather_s: 4
      poll_s: 5
      longest_poll_s: 6
      give_up_s: 7
      max_output_bytes: 8000
      price_share: 0.5
""")
    )
    assert entry.is_late
    assert not entry.is_local
    assert entry.batch.settings == BatchSettings(
        max_requests=10,
        max_bytes=2000,
        settle_s=3.0,
        gather_s=4.0,
        poll_s=5.0,
        longest_poll_s=6.0,
        give_up_s=7.0,
        max_output_bytes=8000,
    )
    ledger = Path(entry.batch.ledger)
    assert ledger.is_absolute()
    ledger.parent.mkdir()
    upstream = open_late_upstream(entry)
    assert price_share(upstream) == 0.5
    assert undrawn_statuses(upstream) == frozenset()
    assert ledger.exists()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"upstream": URL, "batch": {}}, "only litellm_batch:MODEL takes batch"),
        ({"upstream": BATCH, "max_concurrency": 5}, "takes no max_concurrency"),
        ({"upstream": BATCH, "requests_per_minute": 5.0}, "takes no requests_per_minute"),
        ({"upstream": BATCH, "breaker": {"faults": 5}}, "takes no breaker"),
        ({"upstream": BATCH, "model_map": {"a": "b"}}, "takes no model_map"),
        ({"upstream": BATCH, "batch": {"price_share": 0.0}}, "greater than 0"),
        ({"upstream": BATCH, "batch": {"price_share": 1.5}}, "less than or equal to 1"),
    ],
)
def test_what_does_not_go_with_batches_is_named(entry, problem):
    with pytest.raises(ValidationError, match=problem):
        UpstreamEntry.model_validate(entry)


def test_batches_are_for_who_can_wait_and_has_a_ledger():
    pytest.importorskip("litellm")
    entry = UpstreamEntry(upstream=BATCH)
    with pytest.raises(ConfigError, match="answers within hours"):
        open_upstream(entry)
    with pytest.raises(ConfigError, match="which batches were paid for"):
        open_late_upstream(entry)
    assert not plain_entries(["litellm:openai/gpt-4o-mini"])[0].is_late
