"""The OpenAPI document and its page say what the readers do, and load nothing from elsewhere."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from guardrail.api.litellm import request as litellm_request
from guardrail.api.messages import request as messages_request
from guardrail.api.responses import request as responses_request
from guardrail.api.strict_json import parse_object
from guardrail.errors import RequestError
from guardrail.images.limits import ImageLimits
from guardrail.server.docs_page import docs_page

GUARDED = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/guardrail/check",
    "/beta/litellm_basic_guardrail_api",
    "/v1/messages",
]


@pytest.fixture(scope="module")
def document(shared):
    return shared.client.get("/openapi.json").json()


def body_of(document, path):
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]


def test_every_route_is_described(document):
    assert set(document["paths"]) == {
        *GUARDED,
        *("/v1/models", "/v1/models/{model}", "/healthz", "/readyz"),
    }
    for path in GUARDED:
        operation = document["paths"][path]["post"]
        assert operation["summary"]
        assert {"200", "4XX", "5XX"} <= set(operation["responses"])


def test_the_fields_are_those_that_are_read(document):
    fields = set(body_of(document, "/v1/responses")["schema"]["properties"])
    read = responses_request
    assert fields == {*read.RESPONSES_FIELDS}
    fields = set(body_of(document, GUARDED[3])["schema"]["properties"])
    assert fields == set(litellm_request.LITELLM_FIELDS)
    fields = set(body_of(document, GUARDED[4])["schema"]["properties"])
    assert fields == set(messages_request.MESSAGES_FIELDS)


def test_the_manual_names_the_same_routes(document):
    manual = Path(__file__).parents[2] / "docs" / "wire.md"
    rows = [line for line in manual.read_text().splitlines() if line.startswith("| `")]
    named = {path for row in rows for path in re.findall(r"`(?:GET|POST) (\S+)`", row)}
    assert named == {path.replace("{model}", "{id}") for path in document["paths"]}


@pytest.mark.parametrize("path", GUARDED)
def test_every_example_works(shared, kit, document, path):
    raw = json.dumps(body_of(document, path)["example"])
    example = json.loads(
        raw.replace("data:image/png;base64,...", kit.data_url())
        .replace('"..."', json.dumps(kit.data_url().partition(",")[2]))
        .replace("gpt-4o-mini", "scripted")
    )
    response = shared.client.post(path, json=example)
    assert response.status_code == 200
    if path == GUARDED[3]:
        assert response.json() == {"action": "NONE"}
    else:
        assert response.json()["guardrail"]["decision"] == "pass"


def test_fields_that_are_not_named_are_refused_where_it_says_so(document):
    reading = (_responses, _litellm, _messages)
    for path, reads in zip((GUARDED[1], *GUARDED[3:]), reading, strict=True):
        content = body_of(document, path)
        assert content["schema"]["additionalProperties"] == {"type": "null"}
        with pytest.raises(RequestError, match="odd"):
            reads({**content["example"], "odd": 1})


def _responses(body):
    raw = json.dumps(body).encode()
    responses_request.read_response(parse_object(raw), max_images=2, limits=ImageLimits())


def _messages(body):
    raw = json.dumps(body).encode()
    messages_request.read_message_request(parse_object(raw), max_images=2, limits=ImageLimits())


def _litellm(body):
    raw = json.dumps(body).encode()
    litellm_request.read_question(
        parse_object(raw), tests_texts=False, model=None, max_images=2, limits=ImageLimits()
    )


class _Loads(HTMLParser):
    """Collects whatever would be fetched or run, and the text."""

    def __init__(self):
        super().__init__()
        self.fetched, self.links, self.anchors, self.text = [], [], set(), ""

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "link", "img", "iframe", "object", "embed", "form"):
            self.fetched.append(tag)
        self.fetched += [name for name, _ in attributes if name == "src" or name.startswith("on")]
        self.anchors |= {value for name, value in attributes if name == "id"}
        self.links += [value for name, value in attributes if name == "href"]

    def handle_data(self, data):
        self.text += data


def test_the_page_loads_nothing(shared):
    response = shared.client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = _Loads()
    page.feed(response.text)
    outward = [link for link in page.links if not link.startswith("#")]
    assert (page.fetched, outward) == ([], ["openapi.json"])
    assert not re.search(r"url\(|@import|https?://", response.text)
    for path in GUARDED:
        assert f"POST {path}" in page.text
    assert "max_output_tokens" in page.text
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.anchors
    assert "temperature, top_p, parallel_tool_calls" in page.text  # told once, together


def test_the_page_escapes_what_it_shows():
    evil = "<script>x</script>"
    operation = {"summary": evil, "responses": {evil: {"description": evil}}}
    document = {
        "info": {"title": evil, "description": evil},
        "paths": {evil: {"get": operation}},
    }
    assert "<script>" not in docs_page(document)
