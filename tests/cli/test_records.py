"""`--records` of check and serve, and `guardrail verify` of what they wrote."""

import concurrent.futures
import dataclasses
import json
import signal
import socket
import time

import httpx
import pytest
from click.testing import CliRunner

from guardrail.cli import check, verify
from guardrail.engine.verdict import Action
from guardrail.errors import CertificationError, ConfigError, GuardrailError
from guardrail.images.codec import decode_image
from guardrail.images.data_url import to_data_url
from guardrail.images.limits import ImageLimits
from guardrail.key_files import load_or_create_keyring
from guardrail.records.audit import read_records
from guardrail.records.content import load_or_create_content_keys, open_content
from guardrail.records.database_audit import audit_database
from guardrail.records.journal import FileJournal
from guardrail.records.query import DatabaseSource, RecordFilter, open_existing
from guardrail.records.replay import replay
from guardrail.types import picture_chat
from guardrail.upstreams.scripted import Step


def read(file):
    return [record for _, record in read_records(file)]


@pytest.fixture
def checked(policy, pictures):
    def run(*arguments):
        return CliRunner().invoke(
            check.command,
            [str(pictures / "a.png"), "--policy", str(policy), *map(str, arguments)],
            catch_exceptions=False,
        )

    return run


def verified(*arguments):
    return CliRunner().invoke(verify.command, [*map(str, arguments)], catch_exceptions=False)


def test_check_appends_one_record_for_each_decision(checked, model, kit, tmp_path):
    file = tmp_path / "records.jsonl"
    model([kit.CLEAN])
    assert checked("--records", file).exit_code == 0
    model([kit.HARM])
    assert checked("--records", file).exit_code == 3
    assert [record.action for record in read(file)] == [Action.PASS, Action.BLOCK]
    assert b"private" not in file.read_bytes()
    result = verified(file)
    assert result.stdout.startswith(
        "holds: 2 records (1 passed, 0 remembered; 0 signed, signatures not checked)"
    )


def test_check_keeps_content_only_where_asked(checked, model, kit, tmp_path):
    file = tmp_path / "records.jsonl"
    model([kit.CLEAN])
    key = tmp_path / "content.key"
    checked("--records", file, "--keep-content", "--content-key", key)
    assert kit.CLEAN.encode() not in file.read_bytes()
    content = open_content(read(file)[0], load_or_create_content_keys(key))
    assert content["answer"]["content"] == kit.CLEAN


def test_a_checked_decision_is_replayed_from_its_record(checked, model, kit, pictures, tmp_path):
    file, key = tmp_path / "records.jsonl", tmp_path / "noise.key"
    upstream = model([kit.CLEAN])
    checked("--records", file, "--key-file", key, "--prompt=What?")
    (record,) = read(file)
    picture = decode_image(
        (pictures / "a.png").read_bytes(),
        declared_media_type=None, limits=ImageLimits(), param="p",
    )  # fmt: skip
    ring = load_or_create_keyring(key)
    again = replay(record, picture_chat("scripted", "What?"), [picture], ring.find(record.key_id))
    assert again.decision == "pass"
    (first,) = again.variants(0)
    assert any((first == call.pictures[0]).all() for call in upstream.calls)


def test_no_answer_without_a_record(checked, model, kit, tmp_path):
    model([kit.CLEAN])
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        checked("--records", other)
    assert other.read_text() == "mine"


def test_options_without_records_are_refused(checked, model, kit, tmp_path):
    model([kit.CLEAN])
    for options in (("--keep-content",), ("--sign-key", tmp_path / "k")):
        with pytest.raises(ConfigError, match="say with --records"):
            checked(*options)
    with pytest.raises(ConfigError, match="name its key with --content-key"):
        checked("--records", tmp_path / "r.jsonl", "--keep-content")
    with pytest.raises(ConfigError, match="no content is kept"):
        checked("--records", tmp_path / "r.jsonl", "--content-key", tmp_path / "k")
    assert not (tmp_path / "k").exists()


def test_signed_records_are_verified_with_the_public_key(checked, model, kit, tmp_path):
    file, key = tmp_path / "records.jsonl", tmp_path / "sign.pem"
    model([kit.CLEAN])
    for _ in range(2):
        checked("--records", file, "--sign-key", key)
    facts = json.loads(verified(file, "--public-key", f"{key}.pub", "--json").stdout)
    (about_the_end,) = facts.pop("not_shown")
    assert "--expect-last" in about_the_end
    assert facts == {
        "holds": True, "records": 2, "passed": 2, "signed": 2, "continues": "",
        "remembered": 0,
        "last_digest": read(file)[-1].digest, "signatures_checked": True, "authentic": True,
        "end_expected": False,
    }  # fmt: skip
    unsigned = tmp_path / "unsigned.jsonl"
    checked("--records", unsigned)
    with pytest.raises(CertificationError, match="not signed"):
        verified(unsigned, "--public-key", f"{key}.pub")


def test_anchors_leave_nothing_unsaid_and_refuse_cut_ends(checked, model, kit, tmp_path):
    file, key = tmp_path / "records.jsonl", tmp_path / "sign.pem"
    model([kit.CLEAN])
    for _ in range(3):
        checked("--records", file, "--sign-key", key)
    known = ("--public-key", f"{key}.pub", "--first", "--count", 3,
             "--expect-last", read(file)[-1].digest)  # fmt: skip
    facts = json.loads(verified(file, *known, "--json").stdout)
    assert (facts["authentic"], facts["end_expected"], facts["not_shown"]) == (True, True, [])
    lines = file.read_bytes().splitlines(keepends=True)
    for left in (lines[:2], lines[1:], lines[1:2], []):
        file.write_bytes(b"".join(left))
        with pytest.raises(CertificationError, match=r"records\.jsonl"):
            verified(file, *known)


def test_what_no_anchor_shows_is_said(checked, model, kit, tmp_path):
    file = tmp_path / "records.jsonl"
    model([kit.CLEAN])
    for _ in range(2):
        checked("--records", file)
    told = verified(file).stdout
    assert "begins the chain" in told
    assert "consistent, not authentic" in told
    assert "nothing here shows whether records at the end were removed" in told
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(second)
    told = verified(file).stdout
    assert f"continues after record {json.loads(first)['digest']}" in told
    assert "records before the first one are not in this file" in told
    assert json.loads(verified(file, "--json").stdout)["authentic"] is False


def test_stripped_signatures_hold_but_are_not_called_authentic(checked, model, kit, tmp_path):
    """Whoever may write the file can take signatures off and compute every digest again."""
    file, key = tmp_path / "records.jsonl", tmp_path / "sign.pem"
    model([kit.CLEAN])
    for _ in range(2):
        checked("--records", file, "--sign-key", key)
    signed = read(file)
    file.unlink()
    journal = FileJournal(file)
    for record in signed:
        journal.append(dataclasses.replace(record, signer="", signature=""))
    journal.close()
    told = verified(file).stdout
    assert "0 signed, signatures not checked" in told
    assert "they are consistent, not authentic" in told
    with pytest.raises(CertificationError, match=r"jsonl:1: .*not signed"):
        verified(file, "--public-key", f"{key}.pub")
    with pytest.raises(CertificationError, match="not in it"):
        verified(file, "--expect-last", signed[-1].digest)


def test_an_empty_file_proves_nothing(tmp_path, checked, model, kit):
    model([kit.CLEAN])
    checked("--records", tmp_path / "other.jsonl", "--sign-key", tmp_path / "key")
    file = tmp_path / "records.jsonl"
    file.write_bytes(b"")
    for options in ([], ["--public-key", tmp_path / "key.pub"], ["--first"], ["--count", 1],
                    ["--expect-last", "0" * 64]):  # fmt: skip
        with pytest.raises(CertificationError):
            verified(file, *options)
    done = verified(file, "--count", 0)
    assert done.exit_code == 0
    assert "no records, which proves nothing" in done.stdout
    facts = json.loads(verified(file, "--count", 0, "--json").stdout)
    assert (facts["records"], facts["authentic"]) == (0, False)


@pytest.mark.parametrize("digest", ["", " ", "0" * 63, "0" * 65, "G" * 64])
def test_an_anchor_that_is_no_digest_is_refused(tmp_path, digest):
    result = verified(tmp_path / "none", "--expect-last", digest)
    assert result.exit_code == 2
    assert "a digest is 64" in result.output


@pytest.mark.parametrize("old", ["certified", "harmless", '"calls":', '"would_block":false'])
def test_verify_fails_loudly_on_a_changed_record(checked, model, kit, tmp_path, old):
    file = tmp_path / "records.jsonl"
    model([kit.CLEAN])
    checked("--records", file)
    text = file.read_text()
    assert old in text
    new = {"certified": "harmful", "harmless": "harmful", '"calls":': '"calls":9'}
    file.write_text(text.replace(old, new.get(old, '"would_block":true'), 1))
    with pytest.raises(CertificationError, match=r"records\.jsonl:1: "):
        verified(file)


def test_verify_still_reads_certificates(checked, model, kit, tmp_path):
    model([kit.CLEAN])
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(json.loads(checked("--json").stdout)["certificate"]))
    told = verified(file).stdout
    assert told.startswith("holds: pass, ")
    assert "consistent, not authentic" in told
    assert json.loads(verified(file, "--json").stdout)["authentic"] is False
    with pytest.raises(GuardrailError):
        verified(file, "--public-key", file)


def test_verify_as_a_process_exits_with_2_on_a_changed_record(checked, model, kit, tmp_path):
    file = tmp_path / "records.jsonl"
    model([kit.CLEAN])
    checked("--records", file)
    assert kit.finish(kit.start("verify", file))[0] == 0
    file.write_bytes(file.read_bytes().replace(b'"action":"pass"', b'"action":"block"'))
    code, out, err = kit.finish(kit.start("verify", file))
    assert (code, out) == (2, "")
    assert "does not match its fields" in err


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def serve(kit, model_url, policy, file, port):
    process = kit.start("serve", "--upstream", f"openai_compatible:{model_url}", "--policy", policy,
                        "--records", file, "--port", port)  # fmt: skip
    end = time.monotonic() + 180
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False)
        except httpx.TransportError:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return process


def ask(port, picture):
    url = to_data_url(picture.read_bytes(), "image/png")
    content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "scripted", "messages": [{"role": "user", "content": content}]}
    with httpx.Client(trust_env=False, timeout=120) as client:
        answer = client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
    return answer.status_code, answer.headers["x-guardrail-record-id"]


def asked_until_killed(port, pictures, process):
    """The records named by the answers that came before the process was killed."""
    names = []

    def work(picture):
        while True:
            try:
                names.append(ask(port, picture)[1])
            except httpx.TransportError:
                return

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for picture in sorted(pictures.iterdir()):
            pool.submit(work, picture)
        end = time.monotonic() + 180
        while len(names) < 8 and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    return names


@pytest.mark.nightly
def test_a_killed_proxy_loses_no_record_in_a_database_either(kit, policy, pictures, tmp_path):
    file, port = tmp_path / "records.db", free_port()
    with kit.model_server([Step(kit.CLEAN, delay_s=0.005)]) as model:
        process = serve(kit, model.base_url, policy, file, port)
        names = asked_until_killed(port, pictures, process)
        kit.finish(process)
    with open_existing(str(file)) as database:
        kept = {record.record_id for record in DatabaseSource(database).scan(RecordFilter())}
        assert len(names) >= 8
        assert set(names) <= kept
        assert audit_database(database).records == len(kept)


@pytest.mark.nightly
def test_a_killed_proxy_loses_no_record_of_an_answer_that_left(kit, policy, pictures, tmp_path):
    file, port = tmp_path / "records.jsonl", free_port()
    with kit.model_server([Step(kit.CLEAN, delay_s=0.005)]) as model:
        process = serve(kit, model.base_url, policy, file, port)
        names = asked_until_killed(port, pictures, process)
        kit.finish(process)
        assert len(names) >= 8
        kept = {json.loads(line)["record_id"] for line in file.read_bytes().splitlines()}
        assert set(names) <= kept
        with file.open("ab") as stream:  # as if the kill had come in the middle of a line
            stream.write(file.read_bytes()[:700])
        process = serve(kit, model.base_url, policy, file, port)
        status, name = ask(port, pictures / "a.png")
        process.send_signal(signal.SIGINT)
        kit.finish(process)
    assert status == 200
    records = read(file)
    assert {record.record_id for record in records} == kept | {name}
    assert verified(file).exit_code == 0
