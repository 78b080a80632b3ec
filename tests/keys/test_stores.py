"""Keys come back as they were kept, from a file and from databases, and changes are seen."""

import dataclasses
import threading
from datetime import timedelta

import pytest
import yaml

from guardrail.errors import ConfigError, GuardrailError, StorageError
from guardrail.keys.api_key import KeyScope, utc_now
from guardrail.keys.opening import open_key_store, pepper_file
from guardrail.keys.pepper import create_pepper, read_pepper


@pytest.fixture(params=["yaml", "sqlite", "postgres"])
def store(request, tmp_path):
    if request.param == "yaml":
        address = str(tmp_path / "keys.yaml")
    else:
        address = request.getfixturevalue(f"{request.param}_url")
    store = open_key_store(address)
    yield store
    store.close()


def full(kit):
    now = utc_now()
    return kit.make_key(
        name="chat page",
        tenant="müller".replace("ü", "ue"),
        scopes=frozenset(KeyScope),
        policy="strict",
        limits={"requests_per_minute": 60, "calls_per_minute": 5000, "max_concurrency": 4,
                "usd_per_day": 12.25},
        expires=now + timedelta(days=90),
        old_digest="ab" * 32,
        old_until=now + timedelta(hours=24),
    )  # fmt: skip


def test_keys_come_back_as_they_were_kept(store, kit):
    keys = (kit.make_key(), full(kit))
    for key in keys:
        store.add(key)
    found = store.read()
    assert {key.id: key for key in found} == {key.id: key for key in keys}
    assert [key.created for key in found] == sorted(key.created for key in keys)


def test_a_change_is_seen_by_the_version(store, kit):
    key = kit.make_key()
    store.add(key)
    seen = [store.version()]
    store.add(kit.make_key())
    seen.append(store.version())
    now = utc_now()
    changed = store.change(key.id, lambda one: dataclasses.replace(one, revoked=now))
    seen.append(store.version())
    assert len(set(seen)) == 3
    assert store.version() == seen[-1]
    assert changed in store.read()
    assert changed.revoked == now


def test_there_is_no_such_key(store, kit):
    store.add(kit.make_key())
    with pytest.raises(ConfigError, match=r"no key 'key_x'.*list"):
        store.change("key_x", lambda key: key)


def test_one_secret_is_one_key(store, kit):
    key = kit.make_key("s")
    store.add(key)
    with pytest.raises(GuardrailError) as caught:
        store.add(kit.make_key("s"))
    assert key.digest not in str(caught.value)
    assert store.read() == (key,)


def test_a_failed_edit_changes_nothing(store, kit):
    key = kit.make_key()
    store.add(key)

    def fail(_key):
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        store.change(key.id, fail)
    assert store.read() == (key,)


def test_writers_side_by_side_lose_nothing(store, kit):
    keys = [kit.make_key() for _ in range(8)]
    threads = [threading.Thread(target=store.add, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.id for key in store.read()} == {key.id for key in keys}


WHOLE = {"id": "key_0123456789abcdef", "digest": "0" * 64, "name": "n", "tenant": "t",
         "created": "2026-01-01T00:00:00Z"}  # fmt: skip
WRONG = {
    "no list": ({"keys": 3}, "keys"),
    "a list": ([], "mapping"),
    "an unknown field": ({"keys": [WHOLE | {"secret": "grd_x"}]}, "secret"),
    "another id": ({"keys": [WHOLE | {"id": "a"}]}, "key_ and 16"),
    "no time": ({"keys": [WHOLE | {"created": "soon"}]}, "2026-11-01"),
    "no time zone": ({"keys": [WHOLE | {"created": "2026-01-01T00:00:00"}]}, "2026-11-01"),
    "an unknown scope": ({"keys": [WHOLE | {"scopes": ["root"]}]}, "scopes"),
    "no scope": ({"keys": [WHOLE | {"scopes": []}]}, "what it is for"),
    "a limit of 0": ({"keys": [WHOLE | {"limits": {"usd_per_day": 0.0}}]}, "limits.usd_per_day"),
    "half a rotation": ({"keys": [WHOLE | {"old_digest": "1" * 64}]}, "old_until"),
    "an empty name": ({"keys": [WHOLE | {"name": " "}]}, "letters"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_says_where(tmp_path, name):
    content, named = WRONG[name]
    file = tmp_path / "keys.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=named) as caught:
        open_key_store(str(file)).read()
    assert caught.value.file == str(file)


def test_two_keys_of_one_id(tmp_path, kit, book):
    book.create()
    text = book.file.read_text()
    book.file.write_text(text + text.partition("keys:\n")[2])
    with pytest.raises(ConfigError, match="two keys have the same id"):
        book.store.read()


def test_a_missing_file_is_told(tmp_path):
    store = open_key_store(str(tmp_path / "keys.yaml"))
    for ask in (store.version, store.read):
        with pytest.raises(ConfigError, match="keys"):
            ask()


def test_a_database_that_is_not_there():
    with pytest.raises(StorageError):
        open_key_store("postgresql://guardrail@127.0.0.1:1/none")


@pytest.mark.parametrize(
    "address", ["keys.txt", "mysql://u:hunter2@h/d", "keys", "http://x:hunter2@y"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(ConfigError) as caught:
        open_key_store(address)
    assert "hunter2" not in str(caught.value)


def test_a_scope_of_another_version(sqlite_url, kit):
    store = open_key_store(sqlite_url)
    store.add(kit.make_key())
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET scopes = 'client owner'")
    with pytest.raises(ConfigError, match="scopes that this version does not know"):
        store.read()
    store.close()


class TestPepper:
    def test_it_is_made_once_and_private(self, tmp_path):
        file = tmp_path / "pepper"
        made = create_pepper(file)
        assert (len(made), create_pepper(file), read_pepper(file)) == (32, made, made)
        assert file.stat().st_mode & 0o777 == 0o600

    def test_one_that_others_may_read_is_refused(self, tmp_path):
        file = tmp_path / "pepper"
        create_pepper(file)
        file.chmod(0o644)
        with pytest.raises(ConfigError, match="chmod 600"):
            read_pepper(file)

    @pytest.mark.parametrize("content", ["", "00", "0" * 65, "g" * 64, "é" * 32])
    def test_another_content(self, tmp_path, content):
        file = tmp_path / "pepper"
        file.write_text(content)
        file.chmod(0o600)
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            read_pepper(file)

    def test_a_missing_one_is_not_made_by_reading(self, tmp_path):
        with pytest.raises(ConfigError, match="guardrail keys create"):
            read_pepper(tmp_path / "pepper")
        assert list(tmp_path.iterdir()) == []

    def test_where_it_is(self):
        assert str(pepper_file("/etc/keys.yaml")) == "/etc/keys.yaml.pepper"
        with pytest.raises(ConfigError, match="--pepper"):
            pepper_file("postgresql://db/x")
