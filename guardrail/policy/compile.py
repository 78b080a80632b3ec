"""Policy to rules: the only bridge between what people write and what the engine runs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from guardrail.engine.plan import UNSCALED, plan_for, required_rate
from guardrail.engine.promise import Claim
from guardrail.engine.rules import AnswerSource, OnUnscanned, Rules
from guardrail.errors import CertificationError, ConfigError
from guardrail.images.limits import ImageLimits
from guardrail.memory.rules import MemoryRules
from guardrail.oracles.reference_options import ReferenceOptions
from guardrail.policy.load import line_of
from guardrail.policy.recall import policy_recall
from guardrail.stats import PlanKind, failover_alpha, spent_alpha
from guardrail.stats.fixed import smallest_fixed
from guardrail.upstreams.litellm_prices import litellm_prices
from guardrail.upstreams.prices import Price, PriceBook, Tier

if TYPE_CHECKING:
    from guardrail.oracles.options import MissRateBound
    from guardrail.policy.schema import Policy

__all__ = [
    "check_first_try",
    "compile_policy",
    "image_limits",
    "memory_rules",
    "policy_digest",
    "variant_options",
]


def policy_digest(policy: Policy) -> str:
    """SHA-256 (hex) of the policy's canonical JSON, defaults and calibration written out.

    Without `recall`, which is bound to this digest and changes no decision.

    Raises:
        ConfigError: the oracle's calibration cannot be used.
    """
    policy = policy.model_copy(update={"oracle": policy.oracle.with_calibration(policy.folder)})
    text = json.dumps(
        policy.model_dump(mode="json", exclude={"recall"}), sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()


def compile_policy(policy: Policy, *, file: str | None = None, upstreams: int = 1) -> Rules:
    """The engine's rules.

    Args:
        policy: what people wrote.
        file: where, for messages.
        upstreams: how many share its alpha, see `failover_alpha`.

    Raises:
        ConfigError: a picture that is not scaled down could never pass, the claim needs more than
            the oracle is known to give, its calibration is about another oracle, or its recall
            was measured under another policy.
    """
    smoothing, sampling, limits = policy.smoothing, policy.sampling, policy.limits
    rates = _rates(policy, file)
    digest = policy_digest(policy)
    rules = Rules(
        name=policy.name,
        digest=digest,
        mode=policy.mode,
        claim=smoothing.claim,
        sigma=smoothing.sigma,
        promised_radius=smoothing.radius,
        radius_space=smoothing.radius_space,
        floor=smoothing.floor,
        alpha=smoothing.alpha,
        canvas_max_side_px=smoothing.canvas_max_side_px,
        canvas_min_side_px=smoothing.canvas_min_side_px,
        miss_rate_upper=None if rates is None else rates.miss_rate_upper,
        delta=None if rates is None else rates.delta,
        kind=PlanKind(sampling.plan),
        expected_harmless_rate=sampling.expected_harmless_rate,
        power=sampling.power,
        max_samples=sampling.max_samples,
        latency_weight=sampling.latency_weight,
        max_parallel=sampling.max_parallel,
        speculate=sampling.speculate,
        answer=policy.answer,
        on_upstream_failure=policy.failures.upstream,
        on_oracle_failure=policy.failures.oracle,
        on_limit=policy.failures.limit,
        on_unscanned=policy.failures.unscanned,
        refusals_are_harmless=policy.failures.refusals_are_harmless,
        retries=limits.retries,
        call_timeout_s=limits.call_timeout_s,
        deadline_s=limits.deadline_s,
        max_calls=limits.max_calls,
        max_cost_usd=limits.max_cost_usd_per_request,
        prices=_prices(policy),
        probe_max_tokens=sampling.probe_max_tokens,
        judge_every_chars=sampling.judge_every_chars,
        recall=policy_recall(policy, digest),
        retry=limits.retry,
        expected_success_rate=sampling.expected_success_rate,
    )
    for position in range(min(upstreams, 2)):  # the later ones have the second one's share
        _check_can_pass(policy, rules, file, position, upstreams)
    if policy.spending.mode == "principal":
        check_first_try(rules, file=file, upstreams=upstreams)
    _check_early_stop(policy, file)
    return rules


def variant_options(policy: Policy) -> dict[str, Any]:
    """How variants travel to a model outside this process, as upstreams take it."""
    return {"variant_format": policy.variant_format, "jpeg_quality": policy.variant_quality}


def memory_rules(policy: Policy) -> MemoryRules:
    """How verdicts are remembered."""
    memory = policy.memory
    return MemoryRules(
        on_pass=memory.on_pass,
        on_block=memory.on_block,
        ttl_s=memory.ttl_s,
        max_entries=memory.max_entries,
        max_bytes=memory.max_bytes,
    )


def image_limits(policy: Policy) -> ImageLimits:
    """The limits under which pictures are decoded."""
    limits = policy.limits
    return ImageLimits(
        max_bytes=limits.max_image_bytes,
        max_pixels=limits.max_image_pixels,
        max_total_pixels=limits.max_total_pixels,
        max_side_px=limits.max_image_side_px,
    )


def _rates(policy: Policy, file: str | None) -> MissRateBound | None:
    """The oracle's measured misses, which only the harmlessness claim speaks of."""
    # Asked of every claim: a calibration that does not fit is refused in any case.
    known = policy.oracle.bound_miss_rate(policy.folder)
    if policy.smoothing.claim is Claim.VERDICT:
        return None
    if known is None:
        raise _refused(
            "the harmlessness claim needs the oracle's measured miss rate: give it here, or by "
            "'calibration', or choose 'claim: verdict' under smoothing",
            file,
            "oracle.miss_rate_upper",
        )
    if policy.failures.unscanned is OnUnscanned.PASS_UNSCANNED:
        raise _refused(
            "what passes unscanned cannot be claimed to be harmless; choose 'claim: verdict' "
            "under smoothing, or block it",
            file,
            "failures.unscanned",
        )
    return known


def _refused(problem: str, file: str | None, field: str) -> ConfigError:
    line = None if file is None else line_of(file, field)
    return ConfigError(problem, file=file, line=line, field=field)


def _prices(policy: Policy) -> PriceBook:
    own = {
        name: Price((Tier(0, p.input_usd_per_million / 1e6, p.output_usd_per_million / 1e6),))
        for name, p in policy.prices.items()
    }
    return PriceBook(own, litellm_prices())


def _check_can_pass(
    policy: Policy, rules: Rules, file: str | None, position: int, upstreams: int
) -> None:
    """Refuses rules that block every picture small enough to be taken as it is.

    No resize stretches distances, so larger pictures need less, up to the rounding of the canvas.
    """
    alpha = failover_alpha(rules.alpha, position, upstreams)
    shared = f" at upstream {position + 1} of {upstreams}, by its share of alpha"
    try:
        plan = plan_for(rules, UNSCALED, alpha=alpha)
    except CertificationError as error:
        raise _refused(
            f"pictures that are not scaled down could never pass{shared if upstreams > 1 else ''}: "
            f"{error}",
            file,
            "sampling.max_samples",
        ) from error
    passing = (n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
    fewest = next(passing) + _further_calls(policy)
    if rules.max_calls is not None and rules.max_calls < fewest:
        raise _refused(
            f"no picture could ever pass: that takes {fewest} calls at least; raise it",
            file,
            "limits.max_calls",
        )


def check_first_try(rules: Rules, *, file: str | None = None, upstreams: int = 1) -> None:
    """Refuses rules that leave no test to a principal of whom no try is counted yet.

    Args:
        rules: the policy's.
        file: where it was written, for messages.
        upstreams: how many share its alpha.

    Raises:
        ConfigError: not even the first try could pass.
    """
    first = spent_alpha(rules.alpha, 1)
    alpha = min(failover_alpha(first, position, upstreams) for position in range(upstreams))
    # Where such a fixed test exists, so does a plan of either kind; finding that one takes longer.
    fewest, _ = smallest_fixed(required_rate(rules, UNSCALED), alpha, rules.q1, rules.power)
    if fewest > rules.max_samples:
        raise _refused(
            "the first try of a principal, whose tries share alpha, could never pass: a test at "
            f"alpha {alpha:.6g} takes {fewest} samples; raise it, or set 'mode: off' under "
            "spending",
            file,
            "sampling.max_samples",
        )


def _further_calls(policy: Policy) -> int:
    """Calls beside those of the test: for a reference, and for the answer that leaves."""
    n0 = policy.oracle.n0 if isinstance(policy.oracle, ReferenceOptions) else 0
    return n0 + (policy.answer is AnswerSource.CLEAN)


def _check_early_stop(policy: Policy, file: str | None) -> None:
    compared = isinstance(policy.oracle, ReferenceOptions)
    if compared and policy.sampling.judge_every_chars is not None:
        raise _refused(
            "half an answer cannot be compared with a reference; set it to null",
            file,
            "sampling.judge_every_chars",
        )
