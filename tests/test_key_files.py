"""The noise key: private on disk, silent in messages, one for all processes, rotated safely."""

import copy
import os
import pickle
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.images.keys import KeyRing, NoiseKey, ephemeral
from guardrail.key_files import (
    create_key,
    load_keyring,
    load_or_create_key,
    load_or_create_keyring,
    rotate,
)


def private(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_missing_file_is_made_private_and_found_again(tmp_path):
    path = tmp_path / "state" / "noise.key"
    key = load_or_create_key(path)
    assert mode(path) == 0o600
    assert load_or_create_key(str(path)) == key
    assert [entry.name for entry in path.parent.iterdir()] == ["noise.key"]


def test_the_files_mode_does_not_depend_on_the_umask(tmp_path):
    before = os.umask(0)
    try:
        load_or_create_key(tmp_path / "noise.key")
    finally:
        os.umask(before)
    assert mode(tmp_path / "noise.key") == 0o600


def test_processes_that_start_together_agree_on_the_key(tmp_path):
    found, barrier = [], threading.Barrier(8)

    def start():
        barrier.wait()
        found.append(load_or_create_key(tmp_path / "noise.key").key_id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["noise.key"]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_a_file_open_to_others_is_refused_with_the_remedy(tmp_path, bits):
    path = tmp_path / "noise.key"
    load_or_create_key(path)
    path.chmod(bits)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        load_or_create_key(path)
    assert caught.value.file == str(path)
    with pytest.raises(ConfigError, match="chmod 600"):
        rotate(path)


@pytest.mark.parametrize("bits", [0o600, 0o400])
def test_a_private_file_is_read(tmp_path, bits):
    path = private(tmp_path / "noise.key", b"ab" * 32 + b"\n")
    path.chmod(bits)
    assert load_or_create_key(path).secret == b"\xab" * 32


def test_the_target_of_a_link_is_what_counts(tmp_path):
    target = private(tmp_path / "mounted", b"cd" * 32)
    link = tmp_path / "noise.key"
    link.symlink_to(target)
    assert load_or_create_key(link).secret == b"\xcd" * 32
    target.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_create_key(link)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"ab" * 31,
        b"ab" * 33,
        b"zz" * 32,
        b" " + b"ab" * 32,
        b"ab" * 32 + b"\n\n",
        b"ab" * 32 + b"\n" + b"ab" * 31,
        b"\xff" * 64,
        b"\0" * 32,
        "ａ".encode() * 64,
        (b"ab" * 32 + b"\n") * 2000,
    ],
)
def test_a_malformed_file_is_refused_and_not_quoted(tmp_path, content):
    path = private(tmp_path / "noise.key", content)
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as caught:
        load_or_create_key(path)
    assert "abab" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_directory_in_its_place_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be used"):
        load_or_create_key(tmp_path)


def test_a_file_in_place_of_its_directory_is_a_configuration_error(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        load_or_create_key(tmp_path / "state" / "noise.key")


def test_a_dangling_link_is_a_configuration_error(tmp_path):
    (tmp_path / "noise.key").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot be used"):
        load_or_create_key(tmp_path / "noise.key")


def test_rotation_keeps_old_keys_for_replay(tmp_path):
    path = tmp_path / "noise.key"
    first = load_or_create_key(path)
    second = rotate(path).current
    third = rotate(path).current
    ring = load_or_create_keyring(path)
    assert ring.current == third
    assert ring.retired == (second, first)
    assert [ring.find(key.key_id) for key in (first, second, third)] == [first, second, third]
    assert mode(path) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["noise.key"]


def test_a_rotation_that_cannot_be_written_leaves_the_key(tmp_path, monkeypatch):
    path = tmp_path / "noise.key"
    key = load_or_create_key(path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        rotate(path)
    assert load_or_create_key(path) == key
    assert [entry.name for entry in tmp_path.iterdir()] == ["noise.key"]


def test_rotations_at_a_time_add_one_key_each(tmp_path):
    path = tmp_path / "noise.key"
    first, barrier = load_or_create_key(path), threading.Barrier(6)

    def turn():
        barrier.wait()
        rotate(path)

    threads = [threading.Thread(target=turn) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = load_or_create_keyring(path).keys
    assert len({key.key_id for key in keys}) == 7
    assert keys[-1] == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["noise.key"]


def test_a_rotation_through_a_link_changes_the_file_and_leaves_the_link(tmp_path):
    target, link = tmp_path / "mounted", tmp_path / "noise.key"
    key = load_or_create_key(target)
    link.symlink_to(target)
    ring = rotate(link)
    assert link.is_symlink()
    assert load_or_create_keyring(target) == ring
    assert ring.retired == (key,)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_rotation_by_root_leaves_the_file_to_its_owner(tmp_path):
    path = tmp_path / "noise.key"
    load_or_create_key(path)
    os.chown(path, 12345, 12346)
    rotate(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (12345, 12346, 0o600)


def test_a_file_that_is_full_is_not_made_unreadable(tmp_path):
    path = private(tmp_path / "noise.key", (b"ab" * 32 + b"\n") * 1007)
    assert len(rotate(path).keys) == 1008
    with pytest.raises(ConfigError, match="1008 keys"):
        rotate(path)
    assert len(load_or_create_keyring(path).keys) == 1008


def test_what_is_not_there_is_neither_rotated_nor_listed(tmp_path):
    for act in (rotate, load_keyring):
        with pytest.raises(ConfigError, match="there is no noise key file"):
            act(tmp_path / "noise.key")
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_only_where_nothing_is(tmp_path):
    path = tmp_path / "state" / "noise.key"
    key = create_key(path)
    assert (mode(path), load_or_create_key(path)) == (0o600, key)
    with pytest.raises(ConfigError, match="already"):
        create_key(path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="already"):
        create_key(tmp_path / "dangling")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        create_key(tmp_path / "file" / "noise.key")
    assert load_or_create_key(path) == key


def test_a_retired_key_that_is_gone_is_named_by_its_id():
    gone = ephemeral()
    with pytest.raises(ConfigError, match=gone.key_id):
        KeyRing(ephemeral()).find(gone.key_id)


def test_a_ring_in_memory_rotates_too():
    ring = KeyRing(ephemeral())
    turned = ring.rotate()
    assert turned.retired == (ring.current,)
    assert turned.current != ring.current


@given(st.binary(min_size=32, max_size=32))
def test_neither_key_nor_ring_shows_the_secret(secret):
    key = NoiseKey(secret)
    for shown in (repr(key), str(key), f"{key}", repr(KeyRing(key, (key,)))):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert key.key_id in shown
    assert key.key_id not in secret.hex()


def test_key_ids_are_stable_and_tell_keys_apart():
    assert NoiseKey(bytes(32)).key_id == NoiseKey(bytes(32)).key_id
    assert len(NoiseKey(bytes(32)).key_id) == 16
    assert len({ephemeral().key_id for _ in range(50)}) == 50


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(size):
    with pytest.raises(ConfigError, match="32 bytes"):
        NoiseKey(bytes(size))


def test_keys_survive_copies_between_processes():
    key = ephemeral()
    assert copy.deepcopy(key) == key
    assert pickle.loads(pickle.dumps(key)) == key  # noqa: S301 - our own bytes
