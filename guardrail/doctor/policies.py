"""A policy and its oracle: whether it compiles, and whether known texts are judged rightly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guardrail.assembly import build_engine
from guardrail.distribution import install_command
from guardrail.doctor.finding import Finding, error, ok, skip_check, warning
from guardrail.engine.rules import TextInPictures
from guardrail.errors import ConfigError, GuardrailError
from guardrail.oracles.base import Exchange, ReferenceOracle
from guardrail.oracles.kinds.default import DefaultOptions
from guardrail.oracles.measured_languages import describe_languages
from guardrail.oracles.options import HarmOptions, find_parts
from guardrail.picture_text.reader import OcrReader
from guardrail.policy.compile import compile_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.telemetry.canary import SHIPPED_TEXTS
from guardrail.types import Outcome

if TYPE_CHECKING:
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry

__all__ = ["examine_fit", "examine_oracle", "examine_policy"]

_JUDGE_S = 60.0


def examine_policy(policy: Policy) -> list[Finding]:
    """Whether it compiles for one upstream, and whether what it needs is installed."""
    check = f"policy {policy.name}"
    try:
        rules = compile_policy(policy)
    except ConfigError as fault:
        return [error(check, str(fault), "see 'guardrail policy check'")]
    findings = [ok(check, f"compiles, mode {policy.mode}")]
    if rules.text_in_pictures is TextInPictures.OFF:
        return findings
    try:
        OcrReader()
    except ConfigError as fault:
        return [*findings, error(f"{check}: text in pictures", str(fault))]
    return [*findings, ok(f"{check}: text in pictures", "the packages of the extra are installed")]


async def examine_fit(policy: Policy, entries: tuple[UpstreamEntry, ...]) -> list[Finding]:
    """Whether policy, oracle and upstreams go together: recall, prices, shares of alpha."""
    check = f"policy {policy.name}: with its upstreams"
    try:
        engine = build_engine(policy, entries)
    except GuardrailError as fault:
        return [error(check, str(fault))]
    await engine.aclose()
    return [ok(check, "an engine is made of them")]


async def examine_oracle(policy: Policy, *, calls: bool = True) -> list[Finding]:
    """Whether its weights load, and whether it judges a harmful and a harmless text rightly.

    Args:
        policy: names the oracle.
        calls: whether texts are judged, which costs calls where another model is the judge.
    """
    check = f"oracle of {policy.name}"
    findings = _examine_weights(policy, check)
    try:
        oracle = compile_oracle(policy)
    except GuardrailError as fault:
        return [*findings, error(check, str(fault))]
    try:
        findings.append(ok(check, f"{policy.oracle.describe()}; revision {oracle.revision}"))
        findings += _tell_languages(policy, check)
        if not calls:
            return [*findings, skip_check(check, "no text was judged (--no-calls)")]
        return [*findings, await _judge_known(oracle, check)]
    finally:
        await oracle.aclose()


def _examine_weights(policy: Policy, check: str) -> list[Finding]:
    found = [part for part in find_parts(policy.oracle) if isinstance(part, DefaultOptions)]
    if not any(part.models == "auto" and not part.uses_encoder for part in found):
        return []
    return [
        warning(
            f"{check}: weights",
            "the encoder is not there, so the built-in oracle decides alone and finds less harm",
            f"{install_command('encoder')}, or say 'models: builtin' if that is meant",
        )
    ]


def _tell_languages(policy: Policy, check: str) -> list[Finding]:
    told = describe_languages(policy.oracle)
    if not told:
        return []
    parts = [part for part in find_parts(policy.oracle) if isinstance(part, HarmOptions)]
    if any(part.checks_language and part.unmeasured_language == "judge" for part in parts):
        return [
            warning(
                f"{check}: languages", told, "measure it on your languages with 'guardrail recall'"
            )
        ]
    return [ok(f"{check}: languages", told)]


def _known_exchanges() -> list[Exchange]:
    """The canary's harmful answer, then its harmless one."""
    texts = sorted(SHIPPED_TEXTS, key=lambda text: not text.is_harmful)
    return [Exchange(text.prompt, text.answer) for text in texts]


async def _judge_known(oracle: Oracle, check: str) -> Finding:
    check = f"{check}: judges"
    if isinstance(oracle, ReferenceOracle):
        return skip_check(check, "it compares answers with each other; no text is right by itself")
    try:
        async with asyncio.timeout(_JUDGE_S):
            harmful, harmless = await oracle.judge(_known_exchanges())
    except TimeoutError:
        return error(check, f"it did not answer within {_JUDGE_S:g} s", "check that it runs")
    except GuardrailError as fault:
        return error(check, str(fault))
    if Outcome.MISSING in (harmful.outcome, harmless.outcome):
        return error(check, "it gave no judgement", "check how it is set up")
    if harmful.outcome is Outcome.HARMLESS:
        return error(
            check,
            "a plain threat of murder is found harmless",
            "let nothing through it: check its model, labels and threshold",
        )
    if harmless.outcome is not Outcome.HARMLESS:
        return error(
            check,
            "a bowl of fruit is found harmful",
            "check its model, labels and threshold; nearly everything will be blocked",
        )
    return ok(check, "a plain threat is found harmful, a bowl of fruit harmless")
