"""A record in plain words: what the client got, why, and what it would have taken."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guardrail.counted_noun import agree, count_of
from guardrail.engine.harmful_answers import tally_harmful
from guardrail.engine.preprocessing import NO_FILTER, SIDE_FROM_POLICY
from guardrail.engine.verdict import Action, Reason
from guardrail.engine.wording import describe_canvas, digits_down
from guardrail.images.perceptual import HASH_BITS
from guardrail.printable import show_text
from guardrail.records.endings import HowEnded, how_ended
from guardrail.stats import Decision
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.engine.certificate.threats import TestedView
    from guardrail.engine.verdict import HarmfulAnswers
    from guardrail.images.known_pictures import KnownPicture
    from guardrail.records.record import Record

__all__ = ["explain_record", "explain_verdict"]

_ENDINGS = {
    HowEnded.LET_THROUGH: "Let through",
    HowEnded.STOPPED: "Stopped",
    HowEnded.WOULD_STOP: "Let through, because the policy only observes; it would be stopped",
    HowEnded.FAULT: "A fault; nothing was judged",
    HowEnded.LIMIT: "A limit was reached; nothing was judged",
    HowEnded.NOT_DECIDED: "Let through without a decision",
    HowEnded.OVERRIDDEN: "Overridden",
}
_REASONS = {
    Reason.CERTIFIED: "enough answers to noisy copies of the pictures were harmless",
    Reason.NO_IMAGE: "the answer was found harmless; without a picture nothing is certified",
    Reason.HARMFUL: "too many answers were harmful",
    Reason.OTHER_MEANING: "too many answers meant something else than the reference",
    Reason.OTHER_ACTION: "too many answers took another action than the reference",
    Reason.UNCERTAIN: "most answers were harmless, but too few to show it",
    Reason.NO_REFERENCE: "the answers had too little in common to compare with",
    Reason.UNSCANNED: "answers held parts that could not be read",
    Reason.LANGUAGE_UNMEASURED: "answers were in a language that the oracle was not measured on, "
    "which is no judgement of harm",
    Reason.TEXT_IN_PICTURE: "what is written in a picture was found harmful",
    Reason.KNOWN_PICTURE: "a picture is on a list of known harmful ones, or nearly equal to one of "
    "them, and no model was asked",
    Reason.DEADLINE: "the policy's time for one decision was over",
    Reason.MAX_CALLS: "the policy's number of calls for one decision was reached",
    Reason.MAX_COST: "the policy's cost of one decision was reached",
    Reason.UPSTREAM_FAILED: "the model gave no answer, or too few",
    Reason.ORACLE_FAILED: "answers could not be judged",
    Reason.PICTURE_TEXT_FAILED: "what is written in a picture could not be read",
    Reason.NOT_CERTIFIABLE: "the policy has no test for pictures of these sizes",
    Reason.ATTEMPTS_SPENT: "too many earlier tries of this user did not pass",
    Reason.INVALID_REQUEST: "the request could not be decided as it was",
    Reason.MISCONFIGURED: "the guard is not set up rightly",
    Reason.CANCELLED: "the client left before there was a decision",
    Reason.CRASHED: "the guard failed",
    Reason.NOT_DECIDED: "observe mode decides only a share of the requests, and not this one",
    Reason.OVERRIDE: "a person had decided about this very request, and the guard was not asked",
    Reason.SHUT_DOWN: "the server was shutting down",
}
_CATEGORIES = {
    "refusal": "the model's own refusal, which this policy counts as harmful",
    "filtered": "the provider's filter left nothing",
    "language unmeasured": "a language that the oracle was not measured on",
    "": "a part that could not be read",
}
_FIELDS = {
    "content": "the text that the user reads",
    "reasoning_content": "the model's thinking",
    "reasoning": "the model's thinking",
    "refusal": "the words of a refusal",
    "whole answer": "all parts of the answer read together",
    "beginning of the answer": "its beginning, where the model was stopped",
    "other field": "a field that the answer named itself",
}


def explain_record(record: Record) -> str:
    """Some sentences, a line each; nothing in them that a terminal would obey.

    Raises:
        CertificationError: its certificate does not hold.
    """
    outcome, *why = explain_verdict(record)
    certificate = record.read_certificate()
    recalls = {} if certificate is None else certificate.recall_statements
    further = map(show_text, (*recalls.values(), *_say_costs(record)))
    return "\n".join([outcome, show_text(_say_request(record)), *why, *further])


def explain_verdict(record: Record) -> list[str]:
    """The sentences on what the client got and why; the last one says what was shown.

    Raises:
        CertificationError: its certificate does not hold.
    """
    certificate = record.read_certificate()
    lines = [
        _say_outcome(record),
        *_say_pictures(certificate),
        *_say_test(record, certificate),
        *_say_views(certificate),
        *_say_harm(record, certificate),
        *_say_faults(record),
        *_say_promise(certificate),
    ]
    return list(map(show_text, lines))


def _say_outcome(record: Record) -> str:
    facts = {"reason": record.reason, "action": record.action, "mode": record.mode,
             "would_block": record.would_block}  # fmt: skip
    ended = how_ended(facts)
    why = _REASONS[record.reason]
    if record.reason is Reason.HARMFUL and not record.pictures:
        why = "the answer was harmful"
    said = f"{_ENDINGS[ended]}: {why}."
    if record.override:
        what = "stopped" if record.action is Action.BLOCK else "let through"
        said += f" By the entry {record.override} it was {what}."
    if record.known_picture is not None:
        said += f" {_say_entry(record.known_picture)}"
    if record.failure:
        said += f" The fault was a {record.failure}."
    if record.remembered:
        said += (
            " An equal request had been decided before, and that verdict was given again; its "
            f"record has the same attempt, {record.attempt}."
        )
    return said


def _say_entry(known: KnownPicture) -> str:
    how = "it is the same file"
    if known.distance is not None:
        how = f"{known.distance} of the {HASH_BITS} bits of the two perceptual hashes differ"
    return f"The entry is line {known.line} of the list '{known.file}': {how}."


def _say_request(record: Record) -> str:
    pictures = {0: "no picture", 1: "one picture"}.get(
        record.pictures, f"{record.pictures} pictures"
    )
    asked = f"Asked at {record.created} of the model '{record.model}' with {pictures}"
    who = f", with the key {record.api_key_id}" if record.api_key_id else ""
    user = f", for the user {record.principal}" if record.principal else ""
    return f"{asked}{who}{user}, under the policy '{record.policy}' ({record.policy_digest[:16]})."


def _say_pictures(certificate: Certificate | None) -> Iterator[str]:
    """Canvas and filter, where they are not plainly the policy's number and none."""
    if certificate is None:
        return
    filtered = certificate.denoise != NO_FILTER
    if certificate.canvas_side_source == SIDE_FROM_POLICY and not filtered:
        return
    canvas = describe_canvas(certificate.canvas_max_side_px, certificate.canvas_side_source)
    seen = f", and seen through a filter ({certificate.denoise})" if filtered else ""
    yield f"Noise was added to pictures of {canvas}{seen}."


def _say_test(record: Record, certificate: Certificate | None) -> Iterator[str]:
    """How many answers were harmless, and how many were needed."""
    if certificate is None or record.remembered:
        return
    n, harmless = certificate.samples, certificate.harmless
    if not n:
        yield "The test had not come to its first look."
        return
    look = certificate.looks.index(n)
    most = certificate.pass_at_most[look]
    copies = "to noisy copies" if certificate.pictures else "to the request itself"
    were = agree(harmless, "was", "were")
    drawn = f"{harmless:,} of {count_of(n, 'answer')} {copies} {were} harmless"
    if certificate.decision is Decision.PASS:
        yield f"{drawn}; {_say_needed(n - most)}."
        return
    stopping = certificate.block_at_least[look]
    enough = (
        f"after {n:,}, {count_of(stopping, 'that is not stops', 'that are not stop')} a request"
    )
    if most >= 0:
        yield f"{drawn}; {_say_needed(n - most)}, and {enough}."
    else:
        yield f"{drawn}; {enough}."
    first = next(
        (n, most)
        for n, most in zip(certificate.looks, certificate.pass_at_most, strict=True)
        if most >= 0
    )
    if first[0] > n:
        yield (
            f"A request is let through after {count_of(first[0], 'answer')} at the earliest, of "
            f"which {first[0] - first[1]:,} must be harmless."
        )
    if certificate.harmful > sum(
        one.outcome in (Outcome.HARMFUL, Outcome.OTHER_ACTION, Outcome.OTHER_MEANING)
        for one in record.samples[:n]
    ):
        yield "Answers that were lost or could not be judged count as not harmless."


def _say_needed(harmless: int) -> str:
    return f"{count_of(harmless, 'was', 'were')} needed to let it through"


def _say_views(certificate: Certificate | None) -> Iterator[str]:
    """What was asked about beside the request itself, and which of it ended the decision."""
    if certificate is None:
        return
    for tested in certificate.threats:
        several = len(tested.views) > 1
        told = count_of(len(tested.views), "view of it was", "views of it were")
        yield (
            f"{told} tested for the threat '{tested.threat}', by "
            f"{count_of(tested.samples, 'answer')}."
        )
        plan = tested.plan(certificate.alpha)
        for view in tested.views:
            last = view.counts[-1] if view.counts else None
            ended = None if last is None else plan.decide(last.samples, last.harmful)
            stopped = ended not in (None, Decision.PASS) and not certificate.is_itself(view)
            if last is not None and stopped:
                yield (
                    f"The decision ended at {'one of them' if several else 'it'}, "
                    f"{_describe_view(view)}: {last.harmful:,} of "
                    f"{count_of(last.samples, 'answer')} to it alone "
                    f"{agree(last.harmful, 'was', 'were')} not harmless."
                )


def _describe_view(view: TestedView) -> str:
    if view.box is None:
        return f"the text without its last {view.cut}"
    top, left, height, width = view.box
    place = f"{width} x {height} pixels from column {left} and row {top}"
    return f"{place} of picture {(view.picture or 0) + 1}"


def _say_harm(record: Record, certificate: Certificate | None) -> Iterator[str]:
    """Each category, in which field, and what the words mean."""
    used = record.samples if certificate is None else record.samples[: certificate.samples]
    harmful = [one for one in used if one.outcome is Outcome.HARMFUL]
    for found in tally_harmful((one.reason, one.field) for one in harmful):
        yield _describe(found)
    scores = [one.score for one in harmful if one.score is not None]
    if scores:
        cut = ""
        if record.threshold is not None:
            cut = f"; from {record.threshold:g} on an answer counts as harmful"
        yield f"The highest score is {max(scores):.3g}{cut}."
    others = Counter(one.outcome for one in used)
    for outcome, what in (
        (Outcome.OTHER_MEANING, "meant something else than the reference"),
        (Outcome.OTHER_ACTION, "took another action than the reference"),
    ):
        if others[outcome]:
            yield f"{count_of(others[outcome], 'answer')} {what}."


def _describe(found: HarmfulAnswers) -> str:
    times = count_of(found.answers, "answer was", "answers were")
    meaning = _CATEGORIES.get(found.category)
    category = meaning if meaning is not None else f"'{found.category}'"
    if "score at or over the threshold" in found.category:
        oracle = found.category.split(" score ")[0]
        category = f"the score of '{oracle}' reached its threshold; it names no category"
    where = ""
    if found.field:
        words = _explain_field(found.field)
        where = f", in {found.field}" + (f" ({words})" if words else "")
    return f"{times} harmful{where}: {category}."


def _explain_field(name: str) -> str:
    if name.endswith("function.arguments"):
        return "what a tool would be called with"
    if name.endswith("function.name"):
        return "the name of a tool"
    if name.endswith(" (decoded)"):
        return "what a code in it says"
    if name.startswith("content["):
        return _FIELDS["content"]
    return _FIELDS.get(name, "")


def _say_faults(record: Record) -> Iterator[str]:
    failures = Counter(one.failure for one in record.samples if one.failure)
    for name, count in failures.items():
        yield f"{count} could not be had or judged: {name}."


def _say_promise(certificate: Certificate | None) -> Iterator[str]:
    if certificate is None:
        yield "There is no certificate: nothing was tested."
        return
    if certificate.decision is Decision.PASS:
        yield certificate.statement
        for one in certificate.claims if certificate.threats else ():
            if one["threat"] != certificate.norm:
                yield one["statement"]
        return
    if not certificate.pictures:
        yield (
            "To let it through, the answers would have to show that more than "
            f"{certificate.q_required:.1%} of all answers are harmless."
        )
        return
    yield (
        f"To let it through, the answers would have to show that more than "
        f"{certificate.q_required:.1%} of all answers under noise are harmless: that is what "
        f"keeps a forbidden request out when its pictures are changed by up to "
        f"{digits_down(certificate.promised_radius)}."
    )


def _say_costs(record: Record) -> Iterator[str]:
    cost = "" if record.cost_usd is None else f", US$ {record.cost_usd:.2g}"
    yield f"It took {count_of(record.calls, 'call')} and {record.elapsed_s:.2f} s{cost}."
