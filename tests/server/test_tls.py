"""HTTPS by files, renewed while the server runs; and no bind beyond this machine without keys."""

import asyncio
import os
import ssl

import httpx
import pytest
from cryptography import x509

from guardrail.api.deployment import fixed_deployment
from guardrail.api.service import Service
from guardrail.engine.engine import Engine
from guardrail.errors import ConfigError
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.bind import check_bind, is_loopback
from guardrail.server.serve import running_server, serve
from guardrail.server.tls import TlsFiles, keep_renewed, open_tls
from guardrail.upstreams.scripted import Scripted
from tests.faults.certificates import write_pair


def trusting(*files):
    context = ssl.create_default_context()
    for one in files:
        context.load_verify_locations(one.certificate)
    return context


def parts(kit):
    policy = kit.make_policy()
    return policy, Engine(
        compile_policy(policy), Scripted(["A."]), kit.Words(), NoiseKey(bytes(32))
    )


def test_https(kit, tmp_path):
    files = write_pair(tmp_path, "one")
    with running_server(*parts(kit), tls=files) as server:
        assert server.url.startswith("https://")
        url = f"https://localhost:{server.port}/healthz"
        with httpx.Client(verify=trusting(files), trust_env=False) as client:
            assert client.get(url).status_code == 200
        with httpx.Client(trust_env=False) as stranger, pytest.raises(httpx.ConnectError):
            stranger.get(url)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        with httpx.Client(verify=old, trust_env=False) as client:
            assert client.get(url).status_code == 200


def subject_served(context):
    """The name in the certificate that a new connection is shown."""

    async def ask():
        async def nothing(_reader, writer):
            writer.close()

        server = await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            trusts_all = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusts_all.check_hostname, trusts_all.verify_mode = False, ssl.CERT_NONE
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusts_all)
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            return x509.load_der_x509_certificate(shown).subject.rfc4514_string()

    return ask()


def test_a_renewed_certificate_is_served_without_a_restart(run, tmp_path, caplog):
    caplog.set_level("INFO")

    async def scene():
        files = write_pair(tmp_path, "one")
        context = open_tls(files)
        renewal = asyncio.create_task(keep_renewed(context, files, every_s=0.02))
        seen = [await subject_served(context)]
        whole = files.key.read_bytes()
        files.key.write_bytes(b"half a key")
        while "not used yet" not in caplog.text:  # noqa: ASYNC110 (a log has no event)
            await asyncio.sleep(0.02)
        seen.append(await subject_served(context))
        files.key.write_bytes(whole)
        os.utime(files.key, (1, 1))
        write_pair(tmp_path, "two")
        latest = "CN=one"
        while latest == "CN=one":
            await asyncio.sleep(0.02)
            latest = await subject_served(context)
        seen.append(latest)
        renewal.cancel()
        return seen

    assert run(scene()) == ["CN=one", "CN=one", "CN=two"]
    assert caplog.text.count("not used yet") == 1


@pytest.mark.parametrize("what", ["missing", "rubbish", "another key", "a password"])
def test_files_that_cannot_be_used(kit, tmp_path, what):
    files = write_pair(tmp_path, "one", password=b"hunter2" if what == "a password" else None)
    if what == "missing":
        files.key.unlink()
    elif what == "rubbish":
        files.certificate.write_text("rubbish")
    elif what == "another key":
        (tmp_path / "other").mkdir()
        files = TlsFiles(files.certificate, write_pair(tmp_path / "other", "two").key)
    with pytest.raises(ConfigError, match=r"--tls-cert and --tls-key") as caught:
        serve(fixed_deployment(Service(*parts(kit))), port=0, tls=files)
    assert caught.value.file == str(files.certificate)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 (it is refused)
def test_no_bind_beyond_this_machine_without_keys(kit, host):
    refusal = r"guardrail keys create.*--allow-anyone"
    with pytest.raises(ConfigError, match=refusal):
        serve(fixed_deployment(Service(*parts(kit))), host=host, port=0)
    with pytest.raises(ConfigError, match=refusal), running_server(*parts(kit), host=host):
        pass
    check_bind(host, takes_keys=True, allow_anyone=False)
    check_bind(host, takes_keys=False, allow_anyone=True)


@pytest.mark.parametrize(
    ("host", "is_it"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False),  # noqa: S104 (it is asked about)
     ("::", False), ("10.0.0.1", False), ("no.such.host.invalid", False),
     ("a" * 300, False)],
)  # fmt: skip
def test_what_is_this_machine(host, is_it):
    assert is_loopback(host) is is_it
    if is_it:
        check_bind(host, takes_keys=False, allow_anyone=False)
