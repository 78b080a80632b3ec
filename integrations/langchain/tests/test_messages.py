"""Pictures in every form that LangChain has; whatever else there is fails closed."""

import traceback

import pytest
from guardrail_langchain import with_guardrail
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from talkative import Talkative

from guardrail import ContentBlocked, RequestError, UpstreamError
from guardrail.testing.scenarios import HARMLESS_TEXT, picture_url

URL = picture_url()
DATA = URL.partition(",")[2]
SECRET = "my-secret-words"
PICTURES = {
    "OpenAI": {"type": "image_url", "image_url": {"url": URL}},
    "OpenAI, detailed": {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
    "standard": {"type": "image", "base64": DATA, "mime_type": "image/png"},
    "older": {"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"},
    "Anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": DATA},
    },
}
REFUSED = {
    "URL": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "standard URL": {"type": "image", "url": "https://example.com/a.png"},
    "older URL": {"type": "image", "source_type": "url", "url": "https://example.com/a.png"},
    "file id": {"type": "image", "file_id": SECRET},
    "audio": {"type": "audio", "base64": DATA, "mime_type": "audio/wav"},
    "input audio": {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
    "video": {"type": "video", "base64": DATA, "mime_type": "video/mp4"},
    "media": {"type": "media", "mime_type": "video/mp4", "data": DATA},
    "file": {
        "type": "file", "base64": DATA, "mime_type": "application/pdf", "filename": SECRET
    },
    "unknown": {"type": "hologram", "hologram": SECRET},
    "text without text": {"type": "text", "txt": SECRET},
    "no block": 7,
}  # fmt: skip


@pytest.fixture
def model(guard):
    return with_guardrail(Talkative(harmful_rate=0.0), guard)


def asked_with(block):
    return [HumanMessage.model_construct(content=[{"type": "text", "text": "What?"}, block])]


def variants(model):
    """The pictures that the model inside was shown."""
    return {
        part["image_url"]["url"]
        for messages, _ in model.inner.seen
        for message in messages
        for part in message.content
        if isinstance(part, dict) and part["type"] == "image_url"
    }


@pytest.mark.parametrize("block", PICTURES.values(), ids=PICTURES)
def test_a_picture_of_any_form_is_certified(model, journal, block):
    answer = model.invoke(asked_with(block))
    assert answer.text == HARMLESS_TEXT
    assert answer.response_metadata["guardrail"]["certificate"]["radius"] > 0
    shown = variants(model)
    assert len(shown) == len(journal.records[0].samples) > 1
    assert URL not in shown


def test_the_same_picture_is_the_same_request_in_every_form(model, journal):
    for name in ("OpenAI", "standard", "older", "Anthropic"):
        model.invoke(asked_with(PICTURES[name]))
    assert len({record.request_digest for record in journal.records}) == 1


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_guarded_is_refused_unasked(model, block):
    with pytest.raises(RequestError) as caught:
        model.invoke(asked_with(block))
    assert "messages" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert model.inner.seen == []


def test_a_picture_without_a_type_is_refused_by_langchain(model):
    with pytest.raises((RequestError, ValueError)):
        model.invoke(asked_with({"type": "image", "base64": DATA}))
    assert model.inner.seen == []


def test_pictures_of_tools_and_systems_are_guarded_too(model, journal):
    call = {"name": "look", "args": {"at": "it"}, "id": "call_1"}
    model.invoke(
        [
            SystemMessage([{"type": "text", "text": "Be brief."}, PICTURES["standard"]]),
            HumanMessage("Look."),
            AIMessage("", tool_calls=[call]),
            ToolMessage([PICTURES["OpenAI"]], tool_call_id="call_1"),
        ]
    )
    shown = variants(model)
    assert URL not in shown
    assert len(shown) == 2 * len(journal.records[0].samples)
    (messages, _), *_ = model.inner.seen
    assert [type(message) for message in messages] == [
        SystemMessage, HumanMessage, AIMessage, ToolMessage
    ]  # fmt: skip
    assert messages[2].tool_calls == [{**call, "type": "tool_call"}]
    assert messages[3].tool_call_id == "call_1"


THOUGHT = {"type": "thinking", "thinking": "A picture.", "signature": "c2ln" * 20}


def test_thoughts_of_earlier_turns_reach_the_model(model):
    turn = AIMessage([THOUGHT, {"type": "text", "text": "Yes."}])
    model.invoke([HumanMessage("Is it?"), turn, HumanMessage("Sure?")])
    ((messages, _),) = model.inner.seen
    assert messages[1].content == turn.content


def test_thoughts_are_judged_and_delivered(guard):
    content = [THOUGHT, {"type": "text", "text": HARMLESS_TEXT}]
    answer = with_guardrail(Talkative(answer=AIMessage(content)), guard).invoke("Is it?")
    assert answer.content == content
    bad = AIMessage([{**THOUGHT, "thinking": "A forbidden thought."}, content[1]])
    with pytest.raises(ContentBlocked):
        with_guardrail(Talkative(answer=bad), guard, on_block="raise").invoke("Is it?")


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "tool_call", "id": "1", "name": "look", "args": {}},
        {"type": "tool_use", "id": "1", "name": "look", "input": {}},
        {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
    ],
    ids=lambda block: block["type"],
)
def test_a_tool_call_told_twice_is_delivered_once(guard, kind):
    said = AIMessage([kind], tool_calls=[{"name": "look", "args": {"at": "it"}, "id": "1"}])
    answer = with_guardrail(Talkative(answer=said), guard).invoke("Look.")
    assert [call["name"] for call in answer.tool_calls] == ["look"]
    assert answer.content == ""


def test_what_only_the_answer_holds_and_nobody_judged_is_not_delivered(guard):
    said = AIMessage(
        HARMLESS_TEXT,
        additional_kwargs={"audio": {"data": DATA}},
        response_metadata={"raw": "forbidden", "finish_reason": "stop"},
    )
    answer = with_guardrail(Talkative(answer=said), guard).invoke("What?")
    assert answer.additional_kwargs == {}
    assert set(answer.response_metadata) == {"finish_reason", "model_name", "guardrail"}


def test_an_answer_that_cannot_be_judged_is_the_models_fault(guard):
    said = AIMessage.model_construct(
        content=[{"type": "text", "txt": SECRET}], response_metadata={}, additional_kwargs={}
    )
    with pytest.raises(UpstreamError, match="cannot be judged") as caught:
        with_guardrail(Talkative(answer=said), guard).invoke("What?")
    assert SECRET not in repr(caught.value)


def test_a_picture_as_an_answer_is_not_delivered(guard):
    said = AIMessage([PICTURES["OpenAI"]])
    with pytest.raises(UpstreamError, match="empty"):
        with_guardrail(Talkative(answer=said), guard).invoke("Draw.")
    captioned = AIMessage([{"type": "text", "text": "Here it is."}, PICTURES["OpenAI"]])
    answer = with_guardrail(Talkative(answer=captioned), guard).invoke("Draw.")
    assert answer.content == answer.additional_kwargs["refusal"]
    assert answer.response_metadata["guardrail"]["decision"] == "block"


def test_the_providers_own_refusal_stays_one(guard):
    said = AIMessage("", additional_kwargs={"refusal": "I will not."})
    answer = with_guardrail(Talkative(answer=said), guard).invoke("What?")
    assert answer.additional_kwargs["refusal"] == "I will not."


def test_tokens_of_all_calls_are_counted(guard):
    usage = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    model = with_guardrail(Talkative(answer=AIMessage("Fine.", usage_metadata=usage)), guard)
    answer = model.invoke(asked_with(PICTURES["standard"]))
    calls = answer.response_metadata["guardrail"]["calls"]
    assert answer.usage_metadata["total_tokens"] == 12 * calls
