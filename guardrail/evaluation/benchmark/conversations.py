"""Rows that hold a conversation of several turns, read as a server reads that chat.

Pictures are told by paths or data URLs where a server is sent data URLs or links, and by other
tools' parts; each is given a link that stands for it, so that the server's own reader can say which
pictures the policy sends on, and where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.api.chat.request import incoming_chat
from guardrail.api.pictures.loader import Link
from guardrail.api.request_rules import AS_BY_DEFAULT, RequestRules, request_rules
from guardrail.errors import RequestError
from guardrail.policy.advanced import LimitsSection
from guardrail.tuning.text_tables import RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from guardrail.evaluation.requests import PictureSource
    from guardrail.images.limits import ImageLimits
    from guardrail.policy.schema import Policy
    from guardrail.types import Chat, Json

__all__ = ["CHATS_BY_DEFAULT", "ChatRules", "is_conversation", "picture_place", "read_conversation"]

_STANDS_FOR = "https://picture.invalid/"
_PICTURE_PARTS = ("image_url", "media", "image")
"""Of OpenAI, of guard-eval-harness, and of Hugging Face's chat templates."""


@dataclass(frozen=True, slots=True)
class ChatRules:
    """How a server with the policy reads chats.

    Attributes:
        most_pictures: of one request.
        rules: what else the policy says of reading.
    """

    most_pictures: int
    rules: RequestRules

    @classmethod
    def of(cls, policy: Policy) -> ChatRules:
        return cls(policy.advanced.limits.max_images, request_rules(policy))


CHATS_BY_DEFAULT = ChatRules(LimitsSection().max_images, AS_BY_DEFAULT)


def is_conversation(value: Any) -> bool:
    """Whether messages are more than one question of the user with its pictures.

    One question with places for the row's pictures is read as a conversation, too.
    """
    if not isinstance(value, list) or not value:
        return False
    if len(value) > 1 or not isinstance(value[0], dict) or value[0].get("role") != "user":
        return True
    content = value[0].get("content")
    return isinstance(content, list) and any(map(_asks_for_own, content))


def read_conversation(
    messages: Sequence[Any],
    own: Sequence[PictureSource],
    read_picture: Callable[[Any], PictureSource],
    parameters: Mapping[str, Json],
    chats: ChatRules,
    limits: ImageLimits,
) -> tuple[Chat, tuple[PictureSource, ...]]:
    """The chat, and the pictures that its placeholders stand for.

    Args:
        messages: of the row.
        own: the row's pictures beside them. They go to the parts `{"type": "image"}` without one,
            in order; where there are none of these, behind the first text of the user, as
            guard-eval-harness puts them.
        read_picture: makes a picture's source of what stands for it in a part.
        parameters: further fields of the request.
        chats: how it is read.
        limits: of pictures.

    Raises:
        RowError: it is none that the server would take, or does not end with the user.
    """
    if not all(isinstance(message, dict) for message in messages):
        raise RowError("'messages' holds something that is no message")
    if messages[-1].get("role") != "user":
        raise RowError("'messages' does not end with a message of the user, to be answered")
    pictures = _Pictures(list(own), read_picture)
    body = {
        **parameters,
        "model": "any",
        "messages": pictures.place_own([pictures.replace(message) for message in messages]),
    }
    try:
        incoming = incoming_chat(
            body, max_images=chats.most_pictures, limits=limits, rules=chats.rules
        )
    except RequestError as error:
        raise RowError(f"the conversation cannot be decided: {error}") from error
    numbers = [
        int(source.url.removeprefix(_STANDS_FOR))
        for source in incoming.sources
        if isinstance(source, Link)
    ]
    return incoming.chat, tuple(pictures.met[number] for number in numbers)


def _asks_for_own(part: Any) -> bool:
    """Whether a part is a place for the next picture of the row."""
    if not isinstance(part, dict) or part.get("type") not in _PICTURE_PARTS:
        return False
    return picture_place({name: value for name, value in part.items() if value is not None}) is None


def picture_place(part: Mapping[str, Any]) -> Any:
    """What stands for the picture of a part, as OpenAI or another tool writes it.

    None where nothing does.
    """
    held = part.get("image_url", part.get("media", part.get("image", part)))
    return held.get("url", held.get("uri")) if isinstance(held, dict) else held


@dataclass(slots=True)
class _Pictures:
    """The pictures of a conversation: the row's own, not placed yet, and all that were met."""

    own: list[PictureSource]
    read_picture: Callable[[Any], PictureSource]
    met: list[PictureSource]
    asked_for_own: int

    def __init__(
        self, own: list[PictureSource], read_picture: Callable[[Any], PictureSource]
    ) -> None:
        self.own, self.read_picture = own, read_picture
        self.met, self.asked_for_own = [], 0

    def replace(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The message with a link in place of each picture."""
        content = message.get("content")
        # Tables with nested columns have every field in every row, null where it is not set.
        known = {name: value for name, value in message.items() if value is not None}
        if not isinstance(content, list):
            return {**known, "content": content}
        return {**known, "content": [self._replace_part(part) for part in content]}

    def _replace_part(self, part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        part = {name: value for name, value in part.items() if value is not None}
        if part.get("type") not in _PICTURE_PARTS:
            return part
        place = picture_place(part)
        if _asks_for_own(part):
            self.asked_for_own += 1
            return self._stand_in(self._next_own(), {})
        if not isinstance(place, str):
            raise RowError("a part of 'messages' is neither text nor a picture")
        # OpenAI's form may say more of a picture, such as its detail; the server reads that too.
        return self._stand_in(self.read_picture(place), part if "image_url" in part else {})

    def _next_own(self) -> PictureSource:
        if not self.own:
            raise RowError("'messages' has places for more pictures than the row has")
        return self.own.pop(0)

    def place_own(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages, with the row's own pictures that nothing asked for."""
        if self.own and self.asked_for_own:
            raise RowError("'messages' has places for fewer pictures than the row has")
        first = next((i for i, one in enumerate(messages) if one.get("role") == "user"), None)
        if first is None or not self.own:
            return messages
        content = messages[first].get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        more = [self._stand_in(picture, {}) for picture in self.own]
        messages[first] = {**messages[first], "content": [*(parts or ()), *more]}
        return messages

    def _stand_in(self, picture: PictureSource, part: Mapping[str, Any]) -> dict[str, Any]:
        held = part.get("image_url")
        link = {"url": f"{_STANDS_FOR}{len(self.met)}"}
        self.met.append(picture)
        more = held if isinstance(held, dict) else {}
        return {**part, "type": "image_url", "image_url": {**more, **link}}
