import dataclasses
import time
from contextlib import closing
from datetime import timedelta

import pytest

from guardrail.errors import ConfigError, RequestError
from guardrail.keys.api_key import utc_now
from guardrail.keys.secret import digest_secret, new_secret


def until(holds, timeout_s=60.0):
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < timeout_s
        time.sleep(0.01)


def revoke(key):
    return dataclasses.replace(key, revoked=utc_now())


def test_keys_are_found_by_their_secrets(book):
    one, other = book.create(name="one"), book.create(name="other")
    with closing(book.authenticator()) as keys:
        assert [keys.find(secret).name for secret in (one, other)] == ["one", "other"]
        for wrong in (new_secret(), one[:-1], one + "x", "", "é", f" {one}", "\ud800"):
            assert keys.find(wrong) is None


def test_a_running_one_sees_changes_within_seconds(book):
    """The store is asked every two seconds by default; here more often."""
    secret = book.create()
    with closing(book.authenticator(refresh_s=0.02)) as keys:
        keys.start()
        book.store.change(book.id_of(secret), revoke)
        until(lambda: keys.find(secret) is None)
        later = book.create()
        until(lambda: keys.find(later) is not None)


def test_a_database_too(sqlite_url, kit):
    from guardrail.keys.authenticator import Authenticator
    from guardrail.keys.database_store import DatabaseKeyStore

    secret = new_secret()
    key = kit.make_key(secret)
    with closing(DatabaseKeyStore(sqlite_url)) as commands:
        commands.add(key)
        served = Authenticator(DatabaseKeyStore(sqlite_url), kit.PEPPER, refresh_s=0.02)
        with closing(served) as keys:
            keys.start()
            assert keys.find(secret) == key
            commands.change(key.id, revoke)
            until(lambda: keys.find(secret) is None)


def test_the_store_is_read_only_where_it_changed(book, monkeypatch):
    book.create()
    with closing(book.authenticator()) as keys:
        reads = []
        monkeypatch.setattr(keys._store, "read", lambda: reads.append(1) or ())
        for _ in range(5):
            keys.refresh()
        assert reads == []


def test_expired_and_replaced_secrets(book, kit):
    now = utc_now()
    expired = book.create(expires=now - timedelta(seconds=1))
    replaced, old = book.create(), new_secret()
    until_when = now + timedelta(seconds=3600)
    digest = digest_secret(old, kit.PEPPER)
    book.store.change(
        book.id_of(replaced),
        lambda key: dataclasses.replace(key, old_digest=digest, old_until=until_when),
    )
    with closing(book.authenticator()) as keys:
        assert keys.find(expired) is None
        assert keys.find(old) == keys.find(replaced) is not None
    book.store.change(book.id_of(replaced), lambda key: dataclasses.replace(key, old_until=now))
    with closing(book.authenticator()) as keys:
        assert keys.find(old) is None
        assert keys.find(replaced) is not None


def test_a_store_that_is_gone_serves_for_a_while_and_then_nobody(book, caplog):
    secret, now = book.create(), [0.0]
    with closing(book.authenticator(clock=lambda: now[0], refresh_s=0.01)) as keys:
        text = book.file.read_text()
        book.file.write_text("keys: [")
        keys.start()
        until(lambda: "cannot be read again" in caplog.text)
        now[0] = 59.0
        assert keys.find(secret) is not None
        now[0] = 61.0
        with pytest.raises(RequestError, match="retry later") as caught:
            keys.find(secret)
        assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")
        book.file.write_text(text)
        until(lambda: keys._read_at == 61.0)
        assert keys.find(secret) is not None
    assert secret not in caplog.text
    assert caplog.text.count("cannot be read again") == 1


def test_a_start_that_took_longer_than_a_copy_serves_keeps_nobody_out(book):
    secret, now = book.create(), [0.0]
    with closing(book.authenticator(clock=lambda: now[0], refresh_s=1000.0)) as keys:
        now[0] = 61.0  # models were loaded meanwhile
        keys.start()
        until(lambda: keys._read_at == 61.0)
        assert keys.find(secret) is not None


def test_a_store_that_cannot_be_read_at_the_start(book):
    with pytest.raises(ConfigError):
        book.authenticator()


def test_nothing_shows_a_secret_or_a_digest(book):
    secret = book.create()
    with closing(book.authenticator()) as keys:
        key = keys.find(secret)
        shown = f"{keys!r} {key!r} {key!s}"
    assert secret not in shown
    assert key.digest not in shown
    assert secret not in book.file.read_text()
