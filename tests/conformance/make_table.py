"""Asks everything of every client, keeps the lines in `results.json`, and makes docs/clients.md.

python tests/conformance/make_table.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
RESULTS = HERE / "results.json"
PAGE = REPOSITORY / "docs" / "clients.md"

HEAD = """\
# What clients see

What the user's own code gets to see, per client library and case: fields of the answer, or the
exception with the fields of it that say something. Each line was read off the real library against
the running proxy; `python tests/conformance/make_table.py` asks again and writes this page, and the
tests fail where it is out of date.

{versions}

`Not this.` stands for the policy's `block.text`, `{answer}` for the model's own answer. A
certificate that the client's user finds in the answer shows as `certificate=true`; elsewhere the
`x-guardrail-*` headers tell the verdict (LangChain: `include_response_headers=True`). *After
heartbeats* means that the stream began before the verdict: its status is 200 already, so that a
fault is an event of the stream. – means that the client has no such call, or needs one more package
for it (litellm's Responses API: `litellm[mcp]`).
"""
NOTES = {
    "A block as a refusal (the default)": (
        "The words are content, which all of them show, and a refusal, which some of them keep. "
        "`ai` would show both one after the other, so its own user agent gets the content alone. "
        "`usage=0` and the missing certificate are `block.details: none`, the default."
    ),
    "A block as an error": (
        "An exception everywhere. A stream that has begun brings the same code and words without "
        "a status."
    ),
    "Faults": (
        "The clients were set not to repeat. OpenAI's own repeat 429, 503 and 504 twice unless "
        "told otherwise, after the time in `retry-after` where there is one, but neither blocks "
        "nor what the header `x-should-retry: false` calls lasting, as 500."
    ),
    "Anthropic's Messages API: answers": (
        "The base URL of Anthropic's own clients is the server's address without `/v1`, that of "
        "`@ai-sdk/anthropic` has it. `litellm` was asked for `anthropic/…`. `status=200` is said "
        "of a stream that had begun."
    ),
    "The client goes away": (
        "Each of them stops waiting after 0.4 s; the outstanding calls to the model are cancelled."
    ),
    "Responses API: blocks": (
        "A stream ends in `response.incomplete`, of which LlamaIndex reads nothing: it gives the "
        "words as deltas, and its last piece has no text."
    ),
}
GROUPS = {
    "Answers": ("answer", "answer, streamed", "answer, streamed after heartbeats"),
    "Pictures": ("picture", "picture, streamed"),
    "Tools and schemas": ("tool call", "tool call, streamed", "schema"),
    "A block as a refusal (the default)": (
        "block as refusal",
        "block as refusal, streamed",
        "block as refusal, streamed after heartbeats",
    ),
    "A block of more than a text": ("picture, blocked", "tool call, blocked", "schema, blocked"),
    "A block as a message": (
        "block as message",
        "block as message, streamed",
        "block as message, streamed after heartbeats",
    ),
    "A block as an error": (
        "block as error",
        "block as error, streamed",
        "block as error, streamed after heartbeats",
    ),
    "Faults": (
        "provider 429, Retry-After 7",
        "provider 429, streamed",
        "provider 429, streamed after heartbeats",
    ),
    "More faults": ("provider 401", "provider 500", "provider too slow", "oracle down"),
    "The client goes away": ("client leaves",),
    "Responses API: answers": (
        "responses: answer",
        "responses: answer, streamed",
        "responses: second turn",
        "responses: picture",
    ),
    "Responses API: tools and schemas": (
        "responses: tool call",
        "responses: tool call, streamed",
        "responses: schema",
    ),
    "Responses API: blocks": (
        "responses: block as refusal",
        "responses: block as refusal, streamed",
        "responses: block as message",
    ),
    "Responses API: errors": (
        "responses: block as error",
        "responses: block as error, after heartbeats",
        "responses: provider 429",
    ),
    "Anthropic's Messages API: answers": (
        "messages: answer",
        "messages: answer, streamed",
        "messages: answer, after heartbeats",
        "messages: second turn",
    ),
    "Messages API: pictures, tools and schemas": (
        "messages: picture",
        "messages: picture, streamed",
        "messages: tool call",
        "messages: tool call, streamed",
        "messages: schema",
    ),
    "Messages API: blocks": (
        "messages: block as refusal",
        "messages: block as refusal, streamed",
        "messages: block as message",
    ),
    "Messages API: errors": (
        "messages: block as error",
        "messages: block as error, after heartbeats",
        "messages: provider 429",
        "messages: oracle down",
    ),
}


CODEX = """\
## Codex CLI

Codex CLI 0.171.0 was run by hand: an answer, a command that it executes, a session that is
resumed. It needs no setting beside the address; its `include`, `reasoning.summary`,
`client_metadata`, `namespace` and `web_search` tools are left out and named in
`guardrail.withheld`.

```toml
model = "gpt-4o"
model_provider = "guarded"

[model_providers.guarded]
name = "guarded"
base_url = "http://127.0.0.1:8080/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
```

A block ends its turn with `Incomplete response returned, reason: content_filter`. Codex asks
again by itself where `stream_max_retries` is above 0.

## Ten turns

Conversations with pictures, calls of tools, reasoning, a refusal of the model and a block were held
with each of these clients but LlamaIndex and, by messages, with Anthropic's for Python, whole and
streamed. The client sent back its own message
objects, and the model saw the same texts and calls again (`tests/conformance/test_turns.py`). Two
things do not come back: reasoning, from langchain-openai and by the Responses API; and a refusal of
the model's own, whose words are no content, from langchain-openai and litellm.
`get_final_completion()` of OpenAI's Python streams raises at a block; the words are in
`current_completion_snapshot`.

## Claude Code

Claude Code 2.1.332 was run by hand (`claude -p`): an answer, a command that it executes, a
picture that it reads, which reached the model as noisy variants alone, and a session that is
continued.

```
ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_API_KEY=any claude --model gpt-4o
```

Its `cache_control` and `metadata.user_id` are left out and named in `guardrail.withheld`. Its
first request offers tools that are told later (`defer_loading`), which is refused; it asks again
at once without. Of a block it tells its own words and the request's id, by which the log has it.

## Vercel's AI SDK over several turns

`createOpenAI({ baseURL })(model)` speaks the Responses API and sends earlier answers as
references to what OpenAI would have stored. The process that delivered them remembers them for a
while (`advanced.memory.ttl_s`); behind several processes, or after a restart, it is told
`item_not_found`. `providerOptions: { openai: { store: false } }` has it send the answers
themselves; so does `openai.chat(model)`.
"""


def page(results, answer, versions):
    """The page that says what stands in the results."""
    listed = "\n".join(f"- {name} {version}" for name, version in versions.items())
    short = f"{answer[:20].rstrip()}…"
    parts = [HEAD.format(answer=short, versions=listed)]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        if title in NOTES:
            parts.append(NOTES[title] + "\n")
        parts.append(_table(results, names).replace(answer, short))
    return "\n".join((*parts, CODEX))


def _table(results, names):
    rows = [("client", *names), ("---",) * (len(names) + 1)]
    rows += [
        (client, *(_cell(seen[name]) for name in names))
        for client, seen in results.items()
        if any(seen[name] for name in names)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _cell(seen):
    return "–" if seen is None else f"`{seen}`"


def versions():
    """Of every client, as installed by the committed pins."""
    pins = (REPOSITORY / "constraints.txt").read_text().splitlines()
    python = dict(pin.split("==") for pin in pins if "==" in pin)
    node = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
    names = ("openai", "litellm", "langchain-openai", "llama-index-llms-openai", "anthropic")
    return {
        **{f"Python: {name}": python[name] for name in names},
        **{f"Node: {name}": version for name, version in node.items() if name != "zod"},
    }


def main():
    environment = {**os.environ, "GUARDRAIL_CONFORMANCE_RECORD": str(RESULTS)}
    command = [sys.executable, "-m", "pytest", "-q", str(HERE), "-k", "test_what_the_user_sees"]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    answer = json.loads(RESULTS.read_text())["openai (Python)"]["answer"].split('"')[1]
    PAGE.write_text(page(json.loads(RESULTS.read_text()), answer, versions()))


if __name__ == "__main__":
    main()
