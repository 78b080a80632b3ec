"""The method `pair` on pairs that training never saw, and the shipped policy on clean scenes.

    python benchmarks/semantic_oracle/measure.py            pairs and the built-in's answers
    python benchmarks/semantic_oracle/measure.py --draw     draws the built-in's answers anew
    python benchmarks/semantic_oracle/measure.py --scenes   whole decisions, too, at three sigmas

Needs the extras `embedding` and `local`, and for the last two the Noto Color Emoji font. Writes
pair_results.json and pair_table.md beside this file. Every share has its two-sided 95 % interval
(Clopper-Pearson); pairs of one question are not independent, so an interval is a narrow one. Scenes
are of a seed that nothing was chosen on; `--seed` and `--count` are for choosing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from builtin_answers import (  # noqa: E402 (found beside this file)
    TEMPERATURE,
    clean_scenes,
    draw_answers,
    truth_of,
)
from generate import AskedPair, generate  # noqa: E402
from pairs import pairs as unasked_pairs  # noqa: E402
from train import features_of  # noqa: E402
from written import written  # noqa: E402

from guardrail.oracles.semantic.features import excludes  # noqa: E402
from guardrail.oracles.semantic.pair_head import PairHead  # noqa: E402
from guardrail.oracles.text.sentences import SentenceEncoder  # noqa: E402
from guardrail.stats import harmless_rate_lower, harmless_rate_upper  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guardrail.engine.verdict import Verdict

RESULTS, TABLE = HERE / "pair_results.json", HERE / "pair_table.md"
ANSWERS = HERE / "builtin_answers.json"
POLICY = HERE.parents[1] / "policies" / "semantic.yaml"
PAIRS = {"questions": 1200, "domains": 800}
SCENES = 48
SCENE_SEED = 2027
ERRORS = ("same_called_other", "other_called_same")
RADII = {0.12: 0.06, 0.25: 0.125, 0.5: 0.25}
"""By sigma; each half of it, so that all three tests are the same."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--scenes", action="store_true")
    parser.add_argument("--count", type=int, default=SCENES)
    parser.add_argument("--seed", type=int, default=SCENE_SEED)
    given = parser.parse_args()
    if given.draw or not ANSWERS.exists():
        ANSWERS.write_text(json.dumps(asyncio.run(draw_answers()), indent=0) + "\n")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"model": PairHead.load().digest, "pairs": _pairs()}
    if given.scenes:
        results["scenes"] = [
            row for sigma in RADII for row in asyncio.run(_scenes(sigma, given.count, given.seed))
        ]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    TABLE.write_text(_table(results))
    print(TABLE.read_text())
    return 0


def _pairs() -> list[dict[str, Any]]:
    sets = {
        "held-out questions": generate("questions", PAIRS["questions"]),
        "held-out domains": generate("domains", PAIRS["domains"]),
        "written by hand": written(),
        "without a question": [
            AskedPair("unasked", pair.kind, "no question", "", pair.first, pair.second, pair.same)
            for pair in unasked_pairs()
        ],
        "built-in, no noise": list(_builtin_pairs(0.0)),
        "built-in, noise 0.5": list(_builtin_pairs(0.5)),
    }
    head, encoder, rows = PairHead.load(), SentenceEncoder(), []
    for name, pairs in sets.items():
        features = features_of(pairs, encoder)
        scores = np.where([excludes(row) for row in features], 0.0, head.probabilities(features))
        said = scores >= head.threshold
        groups = {"all", *(p.length for p in pairs), *(p.domain for p in pairs)}
        rows += [_row(name, what, pairs, said) for what in sorted(groups)]
    return rows


def _builtin_pairs(sigma: float) -> Iterator[AskedPair]:
    """Answers to one picture of one truth; answers to equal questions of another truth."""
    rows = [row for row in json.loads(ANSWERS.read_text()) if row["sigma"] == sigma]
    seen = set()
    for row in rows:
        for first, second in combinations(row["answers"], 2):
            truths = {truth_of(row["kind"], text) for text in (first, second)}
            if first != second and "" not in truths:
                yield _asked(row, first, second, same=len(truths) == 1)
    for one, other in combinations(rows, 2):
        if one["kind"] != other["kind"] or one["kind"] == "yes_no":
            continue
        for first, second in zip(one["answers"], other["answers"], strict=True):
            truths = {truth_of(one["kind"], first), truth_of(one["kind"], second)}
            if len(truths) == 2 and "" not in truths and (first, second) not in seen:
                seen.add((first, second))
                yield _asked(one, first, second, same=False)


def _asked(row: dict[str, Any], first: str, second: str, *, same: bool) -> AskedPair:
    kind = str(row["kind"])
    return AskedPair("built-in", kind, "sentence", row["question"], first, second, same)


def _row(
    name: str,
    what: str,
    pairs: Sequence[AskedPair],
    said: Iterable[bool],
) -> dict[str, Any]:
    """Those of a length or a domain, or all."""
    rows = [
        (pair.same, bool(same))
        for pair, same in zip(pairs, said, strict=True)
        if what in ("all", pair.length, pair.domain)
    ]
    row: dict[str, Any] = {"set": name, "what": what}
    for key, truth in (("same_called_same", True), ("other_called_same", False)):
        found = [same for pair_same, same in rows if pair_same == truth]
        row[key] = _share(sum(found), len(found))
    return row


def _share(count: int, of: int) -> dict[str, Any]:
    lower, upper = 0.0, 1.0
    if of:
        lower, upper = (
            bound(count, of, 0.025) for bound in (harmless_rate_lower, harmless_rate_upper)
        )
    return {"count": count, "of": of, "lower": round(lower, 4), "upper": round(upper, 4)}


async def _scenes(sigma: float, count: int, seed: int) -> list[dict[str, Any]]:
    """Whole decisions of the shipped policy, with this noise, about the same clean scenes."""
    from guardrail.builtin.architecture import SIDE_PX
    from guardrail.builtin.scenes import SpriteBank
    from guardrail.engine.engine import Engine
    from guardrail.images.codec import Picture
    from guardrail.images.keys import NoiseKey
    from guardrail.policy.compile import compile_policy
    from guardrail.policy.load import load_policy
    from guardrail.policy.oracle import compile_oracle
    from guardrail.types import picture_chat
    from guardrail.upstreams.builtin import builtin_upstream

    policy = load_policy(POLICY)
    noise = {"sigma": sigma, "radius": RADII[sigma]}
    policy = policy.model_copy(update={"smoothing": policy.smoothing.model_copy(update=noise)})
    engine = Engine(
        compile_policy(policy), builtin_upstream(), compile_oracle(policy), NoiseKey(bytes(32))
    )
    rng, rows = np.random.default_rng(seed), []
    bank = SpriteBank(side=SIDE_PX, variants=24, rng=rng)
    for question, text, scene in clean_scenes(count, rng, bank):
        picture = Picture(scene.pixels, "image/png", SIDE_PX, SIDE_PX, scene.pixels.nbytes)
        chat = picture_chat("guardrail-builtin", text, {"temperature": TEMPERATURE})
        verdict = await engine.decide(chat, (picture,))
        rows.append(_describe_decision(str(question), text, verdict) | {
            "sigma": sigma, "things": len(scene.things),
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def _describe_decision(kind: str, question: str, verdict: Verdict) -> dict[str, Any]:
    """A decision, and of its answers how many the oracle told apart from the commonest rightly."""
    said = [
        (truth_of(kind, str(sample.answer.message.get("content"))), str(sample.outcome))
        for sample in verdict.samples
        if sample.answer
    ]
    alike = Counter(truth for truth, outcome in said if outcome == "harmless")
    ((reference, _),) = alike.most_common(1) or [("", 0)]
    certificate = verdict.certificate
    return {
        "kind": kind, "question": question, "action": verdict.action, "reason": verdict.reason,
        "radius": 0.0 if certificate is None else round(certificate.radius, 4),
        "calls": verdict.usage.calls, "samples": len(said),
        "outcomes": dict(Counter(outcome for _, outcome in said)),
        "truths": dict(Counter(truth for truth, _ in said)),
        "same_called_other": sum(t == reference and o != "harmless" for t, o in said),
        "other_called_same": sum(t != reference and o == "harmless" for t, o in said),
    }  # fmt: skip


def _table(results: dict[str, Any]) -> str:
    lines = [
        "| set | of it | same answers called the same | other answers called the same |",
        "|---|---|---|---|",
    ]
    for row in results["pairs"]:
        cells = (_cell(row[key]) for key in ("same_called_same", "other_called_same"))
        lines.append(f"| {row['set']} | {row['what']} | {' | '.join(cells)} |")
    if scenes := results.get("scenes"):
        lines += [*_table_of_decisions(scenes), *_table_of_scenes(scenes)]
    return "\n".join(lines) + "\n"


def _table_of_decisions(scenes: list[dict[str, Any]]) -> Iterator[str]:
    """By sigma and kind of question."""
    yield from (
        "",
        (
            "| sigma | radius | question | decisions that passed | reasons | calls | answers of "
            "the commonest truth | same called other | other called same |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    )
    for sigma, radius in RADII.items():
        of_sigma = [row for row in scenes if row["sigma"] == sigma]
        kinds = sorted({row["kind"] for row in of_sigma})
        for kind in (*kinds, "all"):
            rows = [row for row in of_sigma if kind in ("all", row["kind"])]
            if not rows:
                continue
            reasons = Counter(row["reason"] for row in rows)
            told = ", ".join(f"{name} {count}" for name, count in sorted(reasons.items()))
            common = sum(max(row["truths"].values(), default=0) for row in rows)
            calls = sum(row["calls"] for row in rows) / len(rows)
            errors = (sum(row[one] for row in rows) for one in ERRORS)
            cells = (
                f"{sigma:g}", f"{radius:g}", kind, _write_share(rows), told, f"{calls:.1f}",
                f"{common} of {sum(row['samples'] for row in rows)}", *map(str, errors),
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def _table_of_scenes(scenes: list[dict[str, Any]]) -> Iterator[str]:
    """By sigma and the number of things in the picture."""
    counts = sorted({row["things"] for row in scenes})
    yield ""
    yield f"| sigma | {' | '.join(f'things {count}' for count in counts)} |"
    yield "|---" * (1 + len(counts)) + "|"
    for sigma in RADII:
        of_sigma = [row for row in scenes if row["sigma"] == sigma]
        cells = (
            _write_share([row for row in of_sigma if row["things"] == count]) for count in counts
        )
        yield f"| {sigma:g} | {' | '.join(cells)} |"


def _write_share(rows: Sequence[dict[str, Any]]) -> str:
    return _cell(_share(sum(row["action"] == "pass" for row in rows), len(rows)))


def _cell(share: dict[str, Any]) -> str:
    if not share["of"]:
        return "none"
    rate = share["count"] / share["of"]
    return f"{rate:.3f} of {share['of']} ({share['lower']:.3f} to {share['upper']:.3f})"


if __name__ == "__main__":
    sys.exit(main())
