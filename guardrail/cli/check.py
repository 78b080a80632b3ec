"""`guardrail check`: one picture, one prompt, one verdict."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import record_options, upstream_options
from guardrail.counted_noun import agree, count_of

if TYPE_CHECKING:
    from guardrail.engine.verdict import Verdict
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry

__all__ = ["command"]


@click.command("check")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--prompt", default="What is shown in this picture?", show_default=True)
@click.option("--model", default="", help="Model name, where the upstream serves several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@upstream_options
@record_options
def command(
    images: tuple[Path, ...],
    prompt: str,
    model: str,
    max_tokens: int | None,
    as_json: bool,
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
    policy_name: str,
    key_file: Path | None,
    **recording: Any,
) -> None:
    """Guard one request with IMAGES and a prompt; exit code 0 passed, 3 blocked, 2 failed."""
    from guardrail.assembly import read_policy, read_upstreams

    policy = read_policy(policy_name)
    chosen = read_upstreams(upstreams, upstreams_file)
    verdict = asyncio.run(
        _decide(policy, chosen, key_file, images, prompt, model, max_tokens, recording)
    )
    click.echo(json.dumps(_facts(verdict)) if as_json else _in_words(verdict))
    if verdict.failure is not None and verdict.answer is None:
        click.echo(f"guardrail: {verdict.failure}", err=True)
    raise click.exceptions.Exit({"pass": 0, "block": 3, "fault": 2}[verdict.action])


async def _decide(
    policy: Policy,
    upstreams: tuple[UpstreamEntry, ...],
    key_file: Path | None,
    images: tuple[Path, ...],
    prompt: str,
    model: str,
    max_tokens: int | None,
    recording: dict[str, Any],
) -> Verdict:
    from guardrail.assembly import build_engine, open_recorder
    from guardrail.errors import RequestError
    from guardrail.files import read_file
    from guardrail.images.codec import decode_image
    from guardrail.policy.compile import image_limits
    from guardrail.records.options import RecordOptions
    from guardrail.records.sent_pictures import SentPictures
    from guardrail.types import picture_chat

    options = RecordOptions(
        recording["records_place"],
        recording["sign_key"],
        recording["keep_content"],
        recording["content_key"],
        recording["keep_pictures"],
    )
    limits = image_limits(policy)
    files = [
        read_file(path, "picture", max_bytes=limits.max_bytes, error=RequestError)
        for path in images
    ]
    pictures = [
        decode_image(data, declared_media_type=None, limits=limits, param=str(path))
        for path, data in zip(images, files, strict=True)
    ]
    engine = build_engine(policy, upstreams, key_file)
    try:
        with open_recorder(engine, options) as record:
            chat = picture_chat(
                model or (await engine.upstream.models())[0],
                prompt,
                {} if max_tokens is None else {"max_tokens": max_tokens},
                pictures=len(pictures),
            )
            verdict = await engine.decide(chat, pictures)
            if record is not None:
                sent = SentPictures()
                sent.fill(files, record.picture_room)
                await record.keep(verdict, chat, sent=sent)
            return verdict
    finally:
        await engine.aclose()


def _facts(verdict: Verdict) -> dict[str, Any]:
    from guardrail.engine.certificate.codec import encode_certificate

    certificate = verdict.certificate
    return {
        "action": verdict.action,
        "reason": verdict.reason,
        "harmful_answers": [dataclasses.asdict(one) for one in verdict.harmful],
        "would_block": verdict.would_block,
        "stopped_by": verdict.stopped_by,
        "answer": None if verdict.answer is None else verdict.answer.text,
        "unscanned": list(verdict.unscanned),
        "unmeasured": verdict.unmeasured,
        "outside_claim": verdict.outside_claim,
        "models": list(verdict.models),
        "calls": verdict.usage.calls,
        "cost_usd": verdict.cost_usd,
        "elapsed_s": verdict.elapsed_s,
        "overhead_s": verdict.overhead_s,
        "certificate": None if certificate is None else encode_certificate(certificate),
    }


def _in_words(verdict: Verdict) -> str:
    from guardrail.engine.harmful_answers import describe_harmful
    from guardrail.engine.stopped_by import StoppedBy

    calls = f"{count_of(verdict.usage.calls, 'call')}{_cost(verdict)}"
    lines = [f"{verdict.action} ({verdict.reason}), {calls}"]
    if verdict.would_block:
        lines.append("would be blocked if this policy were enforced")
    if verdict.stopped_by not in (StoppedBy.NONE, StoppedBy.REQUEST):
        lines.append(f"ended by the test of a view, for the threat '{verdict.stopped_by}'")
    if verdict.harmful:
        lines.append(describe_harmful(verdict.harmful))
    if verdict.unmeasured:
        lines.append(
            f"the oracle was not measured on the answer's language ({verdict.unmeasured}); the "
            "policy lets it judge such text"
        )
    if verdict.answer is not None:
        lines.append(f"answer: {verdict.answer.text}")
    if verdict.certificate is not None:
        certificate = verdict.certificate
        like = f"of one {certificate.reference_kind}" if certificate.reference_kind else "harmless"
        lines.append(
            f"{certificate.harmless:,} of {count_of(certificate.samples, 'variant')} "
            f"{agree(certificate.harmless, 'was', 'were')} {like}"
        )
        lines.append(certificate.statement)
    return "\n".join(lines)


def _cost(verdict: Verdict) -> str:
    return "" if verdict.cost_usd is None else f", US$ {verdict.cost_usd:.2g}"
