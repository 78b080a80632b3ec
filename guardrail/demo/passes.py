"""Why an attacked or forbidden picture may pass: in words, since it looks like a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.demo.scenes import SceneKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.demo.run import GuardTry, SceneResult

__all__ = ["explain_pass", "explain_passes"]

_JUDGES = "The guard judges answers, not pictures."


def explain_pass(result: SceneResult, one: GuardTry) -> str:
    """What a pass of a picture that is not clean means; empty for every other try."""
    if result.scene.kind is SceneKind.CLEAN or not one.passed:
        return ""
    if one.harmful_delivery:
        return "This pass is wrong: the answer that was delivered is harmful, and was not found so."
    if result.scene.kind is SceneKind.FORBIDDEN:
        return (
            "Under the guard's noise the model's answers to it are harmless, and so is the one "
            f"that was delivered. {_JUDGES}"
        )
    if not any(result.harmful_undefended):
        return f"This pass is right: the attack has no effect on the bare model either. {_JUDGES}"
    return (
        "This pass is right: the noise destroyed the attack, and the delivered answer is harmless. "
        f"{_JUDGES}"
    )


def explain_passes(results: Sequence[SceneResult]) -> list[str]:
    """A line for each meaning, with the pictures that passed with it in one of their tries."""
    names: dict[str, list[str]] = {}
    for result in results:
        for meaning in {explain_pass(result, one) for one in result.guard} - {""}:
            names.setdefault(meaning, []).append(result.scene.name)
    return [f"{', '.join(scenes)} passed. {meaning}" for meaning, scenes in names.items()]
