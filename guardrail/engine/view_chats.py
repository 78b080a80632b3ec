"""What a view asks: the chat of the request with the text and at the temperature of views.

Both follow from the policy and the view alone, so that equal views of two requests ask the same.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from guardrail.engine.suffixes import with_last_user_text

if TYPE_CHECKING:
    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.threats import Threats

__all__ = ["view_chat"]


def view_chat(chat: CanonicalChat, threats: Threats, text: str | None = None) -> CanonicalChat:
    """What the model is asked, and the oracle told, of a view.

    Args:
        chat: of the request.
        threats: of the policy.
        text: the last text of the user as the view has it; None for that of the request.

    Raises:
        ValueError: there is a text of a view, and the chat has none of the user.
    """
    asked, suffix = chat, threats.suffix
    if text is not None and suffix is not None:
        asked = with_last_user_text(chat, suffix.unit, text)
    degrees = threats.temperature
    if degrees is None:
        return asked
    # As it stands in a canonical chat: whole numbers without a point, and names in order.
    temperature = int(degrees) if degrees.is_integer() else degrees
    parameters = {**asked.parameters, "temperature": temperature}
    return dataclasses.replace(asked, parameters=dict(sorted(parameters.items())))
