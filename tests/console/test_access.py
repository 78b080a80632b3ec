"""Who gets in: keys, sessions, roles, forms, other sites, other names of this machine."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrail.console.sessions import SessionStore
from guardrail.keys.api_key import KeyScope
from guardrail.keys.secret import new_secret
from tests.console.conftest import ROLES, form_token, make_client, sign_in
from tests.keybook import make_key

PAGES = ("/", "/decisions", "/health")


def test_nobody_sees_a_page_before_signing_in(keyed):
    client = make_client(keyed)
    for path in PAGES:
        answer = client.get(f"/console{path}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    part = client.get("/console/", headers={"hx-request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/console/sign-in")


def test_a_key_opens_a_session_and_signing_out_ends_it(keyed, book):
    client = make_client(keyed)
    before = form_token(client), client.cookies["guardrail_console"]
    secret = book.create(scopes=ROLES["reviewer"], name="Dana")
    keyed.keys.refresh()
    answer = sign_in(client, secret)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    assert client.cookies["guardrail_console"] != before[1]  # no token from before is signed in
    kept = answer.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=strict" in kept
    assert "Path=/console" in kept
    page = client.get("/console/")
    assert page.status_code == 200
    assert "Dana" in page.text
    assert secret not in page.text
    token = client.cookies["guardrail_console"]
    assert post_signed(client, "/sign-out").status_code == 303
    client.cookies.set("guardrail_console", token, path="/console")
    assert client.get("/console/").status_code == 303


def post_signed(client, path, **fields):
    page = client.get("/console/").text
    token = page.partition('name="form-token" content="')[2].partition('"')[0]
    return client.post(f"/console{path}", data={"csrf": token, **fields})


def test_a_wrong_key_a_key_for_clients_and_a_formless_one_stay_outside(keyed, book):
    client = make_client(keyed)
    of_client = book.create(scopes=ROLES["client"])
    keyed.keys.refresh()
    for secret, words in ((new_secret(), "not known"), (of_client, "for programs"), ("", "not")):
        answer = sign_in(client, secret)
        assert answer.status_code == 403
        assert words in answer.text
    assert client.get("/console/").status_code == 303
    assert client.post(f"/console/sign-in?key={of_client}").status_code in (403, 415)


def test_ten_wrong_keys_a_minute_are_enough(keyed, book):
    client = make_client(keyed)
    statuses = [sign_in(client, new_secret()).status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]
    secret = book.create(scopes=ROLES["reviewer"])
    keyed.keys.refresh()
    answer = sign_in(client, secret)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 61


@pytest.mark.parametrize("change", ["revoke", "expire", "rotate", "lose its roles"])
def test_a_session_ends_with_its_key(keyed, book, change):
    from dataclasses import replace

    client = make_client(keyed)
    secret = book.create(scopes=ROLES["reviewer"])
    keyed.keys.refresh()
    sign_in(client, secret)
    assert client.get("/console/").status_code == 200
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    edits = {
        "revoke": lambda key: replace(key, revoked=past),
        "expire": lambda key: replace(key, expires=past),
        "rotate": lambda key: replace(key, digest=make_key(new_secret()).digest),
        "lose its roles": lambda key: replace(key, scopes=ROLES["client"]),
    }
    book.store.change(book.id_of(secret), edits[change])
    keyed.keys.refresh()
    assert client.get("/console/").status_code in (303, 403)


def test_a_replaced_secret_keeps_its_sessions_while_it_is_taken(keyed, book):
    from dataclasses import replace

    client = make_client(keyed)
    secret = book.create(scopes=ROLES["reviewer"])
    keyed.keys.refresh()
    sign_in(client, secret)
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    book.store.change(
        book.id_of(secret),
        lambda key: replace(
            key, digest=make_key(new_secret()).digest, old_digest=key.digest, old_until=later
        ),
    )
    keyed.keys.refresh()
    assert client.get("/console/").status_code == 200


def test_sessions_end_by_time(keyed):
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    store = SessionStore(keyed.database, clock=lambda: now[0])
    key = make_key(scopes=ROLES["reviewer"])
    token = store.open(key, key.digest)
    for _ in range(11):  # in use every hour
        now[0] += timedelta(hours=1)
        assert store.find(token).key_id == key.id
    now[0] += timedelta(hours=1)
    assert store.find(token) is None
    token = store.open(key, key.digest)
    now[0] += timedelta(hours=2)
    assert store.find(token) is None
    assert store.find("nonsense") is None


def test_the_database_holds_no_token(keyed, book):
    client = make_client(keyed)
    secret = book.create(scopes=ROLES["reviewer"])
    keyed.keys.refresh()
    sign_in(client, secret)
    with keyed.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM console_sessions").all()
    kept = repr(rows)
    assert len(rows) == 1
    for known in (client.cookies["guardrail_console"], secret, keyed.keys.digest(secret)):
        assert known not in kept


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("reviewer", "/decisions", 200),
        ("editor", "/decisions", 403),
        ("admin", "/decisions", 403),
        ("admin", "/", 200),
        ("editor", "/health", 200),
        ("everything", "/decisions", 200),
    ],
)
def test_each_role_opens_its_pages(keyed, book, role, path, status):
    client = make_client(keyed)
    secret = book.create(scopes=ROLES[role])
    keyed.keys.refresh()
    sign_in(client, secret)
    answer = client.get(f"/console{path}")
    assert answer.status_code == status
    menu = client.get("/console/").text.partition("<nav")[2].partition("</nav>")[0]
    opens_decisions = KeyScope.REVIEWER in ROLES[role]
    assert ("/console/decisions" in menu) is opens_decisions


def test_a_form_needs_the_token_of_its_session(local, keyed, book):
    assert local.post("/console/sign-out", data={"csrf": "0" * 48}).status_code == 403
    assert local.post("/console/sign-out", data={"x": "y"}).status_code == 403
    secret = book.create(scopes=ROLES["reviewer"])
    keyed.keys.refresh()
    mine, other = make_client(keyed), make_client(keyed)
    sign_in(mine, secret)
    sign_in(other, secret)
    foreign = form_token(other)
    assert mine.post("/console/sign-out", data={"csrf": foreign}).status_code == 403
    assert mine.get("/console/").status_code == 200
    without_cookie = make_client(keyed)
    assert without_cookie.post("/console/sign-in", data={"csrf": foreign}).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}, 404),
        ({}, 404),
    ],
)
def test_another_sites_form_is_refused(local, headers, status):
    token = form_token(local)
    answer = local.post("/console/sign-out", data={"csrf": token}, headers=headers)
    assert answer.status_code == status


def test_another_sites_script_reads_nothing_and_its_link_is_asked_again(local):
    script = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    assert local.get("/console/", headers=script).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    answer = local.get("/console/", headers=link)
    assert '<meta http-equiv="refresh" content="0">' in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", [
    "evil.example", "127.0.0.1.evil.example:8080", "", "[::2]", "[", "[v.]", "127.0.0.1]", "[]:x",
])  # fmt: skip
def test_without_keys_only_names_of_this_machine_are_answered(local, host):
    assert local.get("/console/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:1"])
def test_those_names_are(local, host):
    assert local.get("/console/", headers={"host": host}).status_code == 200


def test_the_cookie_is_marked_where_the_browser_speaks_tls(keyed):
    client = make_client(keyed)
    answer = client.get("/console/sign-in", headers={"x-forwarded-proto": "https"})
    kept = answer.headers["set-cookie"]
    assert kept.startswith("__Secure-guardrail_console=")
    assert kept.endswith("; Secure")


_ODD = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=12)
_HOSTS = st.sampled_from(["127.0.0.1:8080", "[::1]:1", "[", "[]", "[v1", "a]:b", "localhost:x"])
_FAULTY = st.fixed_dictionaries({}, optional={
    "host": _HOSTS | _ODD,
    "origin": st.sampled_from(["http://127.0.0.1:8080", "http://[", "http://[v.]", "//"]) | _ODD,
    "cookie": _ODD.map(lambda text: f"guardrail_console={text}"),
    "sec-fetch-site": st.sampled_from(["cross-site", "same-origin"]) | _ODD,
    "sec-fetch-mode": st.sampled_from(["navigate", "cors"]) | _ODD,
    "x-forwarded-proto": st.sampled_from(["https", "http"]) | _ODD,
    "x-csrf-token": _ODD,
    "hx-request": st.just("true"),
    "content-length": st.sampled_from(["0", "²", "-1"]) | _ODD,
    "content-type": st.just("application/x-www-form-urlencoded") | _ODD,
})  # fmt: skip


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(_FAULTY, st.sampled_from(["GET", "POST"]), st.sampled_from(["/sign-in", "/", "/nowhere"]))
def test_no_header_makes_the_console_fail(keyed, headers, method, path):
    client = make_client(keyed, raise_server_exceptions=False)
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    assert client.request(method, f"/console{path}", headers=sent).status_code < 500


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/static/console.css", "/static/x"])
def test_every_answer_has_the_headers_that_protect_it(local, path):
    headers = local.get(f"/console{path}").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    is_file = path == "/static/console.css"
    assert headers["cache-control"] == (
        "public, max-age=31536000, immutable" if is_file else "no-store"
    )


def test_forms_are_bounded(local):
    token = form_token(local)
    long = {"csrf": token, "more": "x" * 70_000}
    assert local.post("/console/sign-out", data=long).status_code == 413
    assert local.post("/console/sign-out", json={"csrf": token}).status_code == 415
    many = {"csrf": token, **{f"f{i}": "" for i in range(300)}}
    assert local.post("/console/sign-out", data=many).status_code == 400
    broken = b"csrf=%ff%fe&x=" + token.encode()
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert local.post("/console/sign-out", content=broken, headers=form).status_code == 400
