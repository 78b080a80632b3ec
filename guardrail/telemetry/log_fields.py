"""Every field of the lines of the log; `docs/telemetry.md` shows this table."""

from __future__ import annotations

__all__ = ["EVENTS", "LOG_FIELDS"]

EVENTS = {
    "decision": "a request was decided: passed or blocked",
    "fault": "a request had no verdict, and the cause is not the client's",
    "refused": "a request was answered with an error of the client's (status 4xx)",
    "request": "any other request, such as for the list of models; health checks at level debug",
    "canary": "a canary was decided; level error where wrongly, or not at all",
    "block_spike": "many more requests are blocked than before",
    "log": "any other message, of this program or of a library",
}
"""What a line is about, its field `event`."""

LOG_FIELDS = {
    "time": "when the line was written: UTC, milliseconds, ISO 8601",
    "level": "debug, info, warning, error or critical",
    "event": "what it is about, see below",
    "request_id": "of the request, as the answer's x-request-id",
    "trace_id": "of the request's trace, where traceparent named one",
    "method": "HTTP's",
    "route": "the route as the program names it, never the path that was sent; null: there is none",
    "status": "of the HTTP answer; 200 for streams whose error is in an event; 499: client left",
    "elapsed_ms": "the whole request, admission and sending included; of a canary its decision",
    "key_id": "id of the API key that was used; where there are keys",
    "policy": "name of the policy",
    "mode": "enforce or observe",
    "decision": "pass, block or fault",
    "reason": "why, as in x-guardrail-reason",
    "would_block": "in observe mode: enforcement would have blocked",
    "stopped_by": "the test that ended it without a pass: request, crops, stickers, suffix or none",
    "remembered": "nothing was drawn, as an equal request had been decided or was under way",
    "upstream": "name of the upstream that was asked last",
    "model": "the model, where the configuration names it; else other",
    "samples": "answers that the certificate counts",
    "calls": "calls that this request made, repeats included",
    "prompt_tokens": "of these calls, as far as the provider counted them",
    "completion_tokens": "likewise",
    "cost_usd": "of these calls; null where a price or a count is not known",
    "decision_ms": "the decision alone",
    "upstream_ms": "of it: at least one call in flight",
    "oracle_ms": "of it: the oracle at work",
    "queue_ms": "of it: at least one call in line for the upstream",
    "own_ms": "of it: none of these three; they overlap, so the four add up to decision_ms or more",
    "record_id": "name of the record; null where none are kept",
    "fault": "class of the error",
    "code": "its machine-readable word, as in the answer",
    "fault_status": "the HTTP status that stands for it",
    "upstream_status": "the status that the provider gave, where it is another one",
    "canary": "harmful, harmless or model",
    "result": "ok, wrong or fault",
    "expected": "the right decision",
    "decided": "the decision that was made",
    "cause": "why a canary was not decided, as the guard words such errors",
    "blocked": "blocks in the last minutes",
    "decisions": "decisions in the same minutes",
    "share": "their quotient",
    "share_before": "the same in the hour before",
    "logger": "who wrote it, of other messages",
    "message": "what it says, of other messages",
    "error": "class and place of an exception; never its text, which may quote a request",
}
"""By name: what it holds. A line has the fields that apply to its event."""
