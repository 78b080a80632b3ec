"""One harmful sentence in every field and at every place of a long answer, through the guard.

    python benchmarks/harm_oracles/places.py

Answers of 500 calm words whose every field is calm but one, as the engine judges them with the
shipped default policy: each field alone and the whole, the worst counts. Sentences, subjects and
calm texts are from the part of the tables that training answers also draw from, so the rates alone
are optimistic; what is measured is what place and field take from them. Writes places.md.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
from report import share

from guardrail.engine.judge import Judge
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.types import Answer, Outcome, picture_chat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from typing import TYPE_CHECKING

from made_answers import FIELDS, POSITIONS, harmful_sentences, insert_harm, insert_in_field

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SENTENCES = 40
WORDS = 500


def main() -> int:
    rows = asyncio.run(measure())
    lines = [
        (
            f"{SENTENCES} harmful sentences, {WORDS} calm words in every other text; called "
            "harmful, with two-sided 95 % Clopper-Pearson intervals.\n"
        ),
        "| harm | found |",
        "|---|---|",
    ]
    for name, flags in rows.items():
        found = share(np.array(flags))
        assert found is not None
        rate, lower, upper = (100 * found[key] for key in ("rate", "lower", "upper"))
        lines.append(f"| {name} | {rate:.1f} % ({lower:.1f}–{upper:.1f}) |")
    (HERE / "places.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


async def measure() -> dict[str, list[bool]]:
    policy = load_policy("default")
    oracle = compile_oracle(policy)
    judge = Judge(compile_policy(policy), oracle, picture_chat("m", "Go on.", pictures=0))
    found: dict[str, list[bool]] = {}
    for name, messages in cases():
        found[name] = [await _is_harmful(judge, message) for message in messages]
        print(name, sum(found[name]), flush=True)
    await oracle.aclose()
    return found


async def _is_harmful(judge: Judge, message: dict) -> bool:
    sample = await judge.judge(0, Answer(message), ())
    return sample.outcome is Outcome.HARMFUL


def cases() -> Iterator[tuple[str, list[dict]]]:
    sentences = harmful_sentences(9, SENTENCES)
    yield "alone", [_content(sentence.text) for sentence in sentences]
    for position in POSITIONS:
        answers = [
            insert_harm(seed, position, words=WORDS, sentence=sentence)
            for seed, sentence in enumerate(sentences)
        ]
        yield f"content, {position}", [_content(answer.answer) for answer in answers]
    for field in FIELDS:
        made = [
            insert_in_field(seed, field, words=WORDS, sentence=sentence)
            for seed, sentence in enumerate(sentences)
        ]
        yield f"field {field}", [one.message for one in made]
    yield "nowhere", [_content(insert_harm(s, words=WORDS).calm) for s in range(SENTENCES)]


def _content(text: str) -> dict:
    return {"role": "assistant", "content": text}


if __name__ == "__main__":
    sys.exit(main())
