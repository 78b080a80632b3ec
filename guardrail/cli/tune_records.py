"""What `guardrail tune --records` searches: recorded decisions with their labels."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from guardrail.cli.tune_requests import Prepared
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.policy.goals import Goal
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.price_cap import PriceCap
    from guardrail.replay.decisions import RecordedDecisions
    from guardrail.replay.intervals import Label

__all__ = ["prepare_records"]


def prepare_records(
    policy: Policy, goals: tuple[Goal, ...], cap: PriceCap, options: dict[str, Any]
) -> Prepared | None:
    """Recorded decisions with their labels; other oracles judge the answers that were kept."""
    from guardrail.cli.policy_replay import load_recorded
    from guardrail.policy.compile import compile_policy
    from guardrail.policy_search.evaluators import RecordsEvaluator
    from guardrail.policy_search.grid import list_candidates, list_noises, parse_search
    from guardrail.policy_search.numbers import Numbers
    from guardrail.policy_search.oracles import apply_oracle, find_oracles, may_move_threshold
    from guardrail.replay.labels import read_labels

    del goals
    wished = parse_search(options["search_texts"])
    labels = read_labels(options["labels_file"])
    choices = find_oracles(policy, options["oracles"], wished)
    moves = may_move_threshold(policy)
    bases = []
    for choice in choices:
        under = apply_oracle(policy, choice)
        bases.append(Numbers.of(under, cuts_scores=moves and hasattr(under.oracle, "threshold")))
    if len(list_noises(bases[0], wished)) > 1:
        raise ConfigError(
            "records hold draws of the noise that they were made with; another sigma or canvas "
            "takes new ones: give --forbidden and --clean"
        )
    decisions = load_recorded(options["place"])
    rejudged = {
        base.view: asyncio.run(
            _judge_records(decisions, labels, apply_oracle(policy, choice), options)
        )
        for base, choice in zip(bases[1:], choices[1:], strict=True)
    }
    evaluator = RecordsEvaluator(decisions, labels, policy, cap, rejudged)
    rules = compile_policy(policy)
    candidates = [
        numbers
        for base in bases
        for numbers in list_candidates(
            base, wished, rules, any_threshold=base.threshold is not None
        )
    ]
    harm = int(evaluator.forbidden.sum())
    data = f"{harm:,} harmful and {len(evaluator.digests) - harm:,} harmless labelled records"
    return Prepared(evaluator, bases[0], candidates, data)


async def _judge_records(
    decisions: RecordedDecisions,
    labels: Mapping[str, Label],
    policy: Policy,
    options: dict[str, Any],
) -> RecordedDecisions:
    """The same decisions as the oracle of a policy finds the answers that were kept."""
    from guardrail.cli.progress import progress_bar
    from guardrail.policy.oracle import compile_oracle
    from guardrail.records.content import load_or_create_content_keys
    from guardrail.records.documents import open_documents
    from guardrail.replay.rejudging import rejudge_answers

    file = options["content_key"]
    keys = None if file is None else load_or_create_content_keys(file)
    oracle = compile_oracle(policy)
    try:
        with (
            open_documents(options["place"], contents=True) as documents,
            progress_bar(f"judging by {policy.oracle.kind}", len(labels)) as step,
        ):
            labelled = (one for one in documents if one["record_id"] in labels)
            found = await rejudge_answers(decisions, labelled, policy, oracle, keys, step)
    finally:
        await oracle.aclose()
    if not found.rejudged.any():
        raise ConfigError(
            "no answer of a labelled record can be read, so no other oracle can judge it; give "
            "--content-key, of records that were made with --keep-content"
        )
    return found
