"""Policy to rules: the only bridge between what people write and what the engine runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.canonical import canonical_json, digest_json
from guardrail.engine.plan import UNSCALED, plan_for, required_rate
from guardrail.engine.promise import Claim
from guardrail.engine.rules import AnswerSource, Denoise, OnUnscanned, Rules
from guardrail.errors import CertificationError, ConfigError
from guardrail.images.limits import ImageLimits
from guardrail.memory.rules import MemoryRules
from guardrail.oracles.options import find_parts
from guardrail.oracles.reference_options import ReferenceOptions
from guardrail.policy.content import find_differing, policy_content
from guardrail.policy.mistakes import raise_mistakes
from guardrail.policy.recall import policy_recall
from guardrail.policy.threat_facts import fewest_view_calls
from guardrail.policy.threats import compile_threats
from guardrail.stats import PlanKind, failover_alpha, spent_alpha
from guardrail.stats.fixed import smallest_fixed
from guardrail.upstreams.litellm_prices import litellm_prices
from guardrail.upstreams.prices import Price, PriceBook, Tier

if TYPE_CHECKING:
    from collections.abc import Iterator

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

_LARGEST_KEPT_BYTES = 8192


def policy_digest(policy: Policy) -> str:
    """SHA-256 (hex) of the policy's canonical JSON, defaults and calibration written out.

    Without `recall`, `goals`, `overrides` and `known_pictures`, see `policy_content`. With the
    digests of the files in words that a judge goes by, where there are any.

    Raises:
        ConfigError: the oracle's calibration or a file of a judge cannot be used.
    """
    return digest_json(policy_content(policy))


def compile_policy(policy: Policy, *, upstreams: int = 1) -> Rules:
    """The engine's rules.

    Args:
        policy: what people wrote.
        upstreams: how many share its alpha, see `failover_alpha`.

    Raises:
        ConfigError: a picture that is not scaled down could never pass, the claim needs more than
            the oracle is known to give, its calibration is about another oracle, or its recall
            was measured under another policy.
    """
    smoothing, advanced = policy.smoothing, policy.advanced
    sampling, limits = advanced.sampling, advanced.limits
    # Asked of every claim: a calibration that does not fit is refused in any case.
    known = policy.oracle.bound_miss_rate(policy.folder)
    early = _check_early_stop(policy)
    early += _check_history(policy)
    # Before what is measured is read.
    if claim := [*_check_claim(policy, known), *_check_filter(policy), *_check_threats(policy)]:
        raise_mistakes([*claim, *early])
    rates = None if smoothing.claim is Claim.VERDICT else known
    content = policy_content(policy)
    digest = digest_json(content)
    rules = Rules(
        name=policy.name,
        digest=digest,
        mode=policy.mode,
        claim=smoothing.claim,
        sigma=smoothing.sigma,
        promised_radius=smoothing.radius,
        radius_space=advanced.smoothing.radius_space,
        floor=smoothing.floor,
        alpha=smoothing.alpha,
        canvas_max_side_px=advanced.smoothing.canvas_max_side_px,
        canvas_limit_px=advanced.smoothing.canvas_limit_px,
        canvas_min_side_px=advanced.smoothing.canvas_min_side_px,
        denoise=smoothing.denoise,
        denoise_window_px=advanced.smoothing.denoise_window_px,
        denoise_side_px=advanced.smoothing.denoise_side_px,
        miss_rate_upper=None if rates is None else rates.miss_rate_upper,
        delta=None if rates is None else rates.delta,
        kind=PlanKind(sampling.plan),
        expected_harmless_rate=sampling.expected_harmless_rate,
        power=sampling.power,
        max_samples=policy.sampling.max_samples,
        latency_weight=sampling.latency_weight,
        max_parallel=sampling.max_parallel,
        speculate=sampling.speculate,
        answer=policy.answer,
        on_oracle_failure=policy.failures.oracle,
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
        text_in_pictures=policy.text_in_pictures,
        on_several_models=policy.failures.several_models,
        threats=compile_threats(policy.threats),
        policy_fields=_kept_fields(content),
    )
    raise_mistakes([*early, *_check_plans(policy, rules, upstreams)])
    return rules


def variant_options(policy: Policy) -> dict[str, Any]:
    """How variants travel to a model outside this process, as upstreams take it."""
    images = policy.advanced.images
    return {"variant_format": images.variant_format, "jpeg_quality": images.variant_quality}


def memory_rules(policy: Policy) -> MemoryRules:
    """How verdicts are remembered."""
    memory = policy.advanced.memory
    return MemoryRules(
        on_pass=memory.on_pass,
        on_block=memory.on_block,
        ttl_s=memory.ttl_s,
        max_entries=memory.max_entries,
        max_bytes=memory.max_bytes,
    )


def image_limits(policy: Policy) -> ImageLimits:
    """The limits under which pictures are decoded."""
    limits = policy.advanced.limits
    return ImageLimits(
        max_bytes=limits.max_image_bytes,
        max_pixels=limits.max_image_pixels,
        max_total_pixels=limits.max_total_pixels,
        max_side_px=limits.max_image_side_px,
    )


def _check_claim(policy: Policy, rates: MissRateBound | None) -> list[ConfigError]:
    """What the harmlessness claim lacks."""
    if policy.smoothing.claim is Claim.VERDICT:
        return []
    mistakes = []
    if rates is None:
        mistakes.append(
            _mistake(
                "the harmlessness claim needs the oracle's measured miss rate: give it here, or by "
                "'calibration', or choose 'claim: verdict' under smoothing",
                policy,
                "oracle.miss_rate_upper",
            )
        )
    if policy.failures.unscanned is OnUnscanned.PASS_UNSCANNED:
        mistakes.append(
            _mistake(
                "what passes unscanned cannot be claimed to be harmless; choose 'claim: verdict' "
                "under smoothing, or block it",
                policy,
                "failures.unscanned",
            )
        )
    parts = find_parts(policy.oracle)
    if any(getattr(part, "unmeasured_language", "") == "judge" for part in parts):
        mistakes.append(
            _mistake(
                "what an oracle says of languages that it was not measured on cannot be claimed to "
                "be harmless; choose 'claim: verdict' under smoothing, or block it",
                policy,
                "oracle.unmeasured_language",
            )
        )
    return mistakes


def _check_threats(policy: Policy) -> list[ConfigError]:
    """What views cannot be tested with."""
    if compile_threats(policy.threats) is None:
        return []
    mistakes = []
    if policy.smoothing.claim is not Claim.VERDICT:
        mistakes.append(
            "the oracle's misses were not measured on answers to views; choose 'claim: verdict' "
            "under smoothing, or cover no threats"
        )
    if isinstance(policy.oracle, ReferenceOptions):
        mistakes.append(
            "answers to a view cannot be compared with a reference that the whole request chose; "
            "choose an oracle of harm, or cover no threats"
        )
    return [_mistake(problem, policy, "threats") for problem in mistakes]


def _mistake(problem: str, policy: Policy, field: str) -> ConfigError:
    file, line = policy.find_field(field)
    return ConfigError(problem, file=file, line=line, field=field)


def _kept_fields(content: dict[str, Any]) -> dict[str, Any]:
    """What records keep of the policy; the name alone of one that is too long for each of them."""
    fields = find_differing(content)
    is_short = len(canonical_json(fields)) <= _LARGEST_KEPT_BYTES
    return fields if is_short else {"name": content["name"]}


def _prices(policy: Policy) -> PriceBook:
    own = {
        name: Price((Tier(0, p.input_usd_per_million / 1e6, p.output_usd_per_million / 1e6),))
        for name, p in policy.advanced.prices.items()
    }
    return PriceBook(own, litellm_prices())


def _check_plans(policy: Policy, rules: Rules, upstreams: int) -> Iterator[ConfigError]:
    """Finds what blocks every picture small enough to be taken as it is."""
    for position in range(min(upstreams, 2)):  # the later ones have the second one's share
        mistake = _check_plan(policy, rules, position, upstreams)
        if mistake is not None:
            yield mistake
            return  # a smaller share of alpha has the same mistake
    if policy.spending.mode == "principal":
        try:
            check_first_try(policy, rules, upstreams=upstreams)
        except ConfigError as error:
            yield error


def _check_plan(policy: Policy, rules: Rules, position: int, upstreams: int) -> ConfigError | None:
    """The same at the share of alpha that one upstream has.

    No resize stretches distances, so larger pictures need less, up to the rounding of the canvas.
    """
    alpha = failover_alpha(rules.alpha, position, upstreams)
    shared = f" at upstream {position + 1} of {upstreams}, by its share of alpha"
    try:
        plan = plan_for(rules, UNSCALED, alpha=alpha)
    except CertificationError as error:
        return _mistake(
            f"pictures that are not scaled down could never pass{shared if upstreams > 1 else ''}: "
            f"{error}",
            policy,
            "sampling.max_samples",
        )
    try:
        of_views = fewest_view_calls(rules, alpha)
    except CertificationError as error:
        return _mistake(f"no picture could ever pass: {error}", policy, "threats")
    passing = (n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)
    fewest = next(passing) + of_views + _further_calls(policy)
    if rules.max_calls is not None and rules.max_calls < fewest:
        return _mistake(
            f"no picture could ever pass: that takes {fewest} calls at least; raise it",
            policy,
            "advanced.limits.max_calls",
        )
    return None


def check_first_try(policy: Policy, rules: Rules, *, upstreams: int = 1) -> None:
    """Refuses rules that leave no test to a principal of whom no try is counted yet.

    Args:
        policy: what people wrote.
        rules: what that means.
        upstreams: how many share its alpha.

    Raises:
        ConfigError: not even the first try could pass.
    """
    first = spent_alpha(rules.alpha, 1)
    alpha = min(failover_alpha(first, position, upstreams) for position in range(upstreams))
    # Where such a fixed test exists, so does a plan of either kind; finding that one takes longer.
    fewest, _ = smallest_fixed(required_rate(rules, UNSCALED), alpha, rules.q1, rules.power)
    if fewest > rules.max_samples:
        raise _mistake(
            "the first try of a principal, whose tries share alpha, could never pass: a test at "
            f"alpha {alpha:.6g} takes {fewest} samples; raise it, or set 'mode: off' under "
            "spending",
            policy,
            "sampling.max_samples",
        )
    try:
        fewest_view_calls(rules, alpha)
    except CertificationError as error:
        raise _mistake(
            f"the views of a principal's first try could never pass: {error}", policy, "threats"
        ) from error


def _further_calls(policy: Policy) -> int:
    """Calls beside those of the test: for a reference, and for the answer that leaves."""
    n0 = policy.oracle.n0 if isinstance(policy.oracle, ReferenceOptions) else 0
    return n0 + (policy.answer is AnswerSource.CLEAN)


def _check_history(policy: Policy) -> list[ConfigError]:
    most, history = policy.advanced.limits.max_images, policy.images.history
    if history == "all" or int(history.removeprefix("last ")) <= most:
        return []
    problem = (
        f"more pictures than advanced.limits.max_images allows, {most}; raise that, or keep fewer"
    )
    return [_mistake(problem, policy, "images.history")]


def _check_filter(policy: Policy) -> list[ConfigError]:
    if policy.recall is None or policy.smoothing.denoise is not Denoise.CUSTOM:
        return []
    problem = (
        "what was measured cannot be said of a filter of your own (denoise: custom), which may "
        "change without the policy; set it to null"
    )
    return [_mistake(problem, policy, "recall")]


def _check_early_stop(policy: Policy) -> list[ConfigError]:
    compared = isinstance(policy.oracle, ReferenceOptions)
    if not compared or policy.advanced.sampling.judge_every_chars is None:
        return []
    problem = "half an answer cannot be compared with a reference; set it to null"
    return [_mistake(problem, policy, "advanced.sampling.judge_every_chars")]
