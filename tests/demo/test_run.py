"""The demo through the real proxy and client, with a model and an oracle of known truth."""

import asyncio
import html
import json
import re
import shlex
import subprocess
import sys
from xml.etree import ElementTree

import httpx
import pytest
from click.testing import CliRunner

from guardrail.demo.curve import bound_curves
from guardrail.demo.positions import explain_position, locate_attacks
from guardrail.demo.report import write_report
from guardrail.demo.run import run_demo
from guardrail.demo.scenes import SceneKind, load_scenes
from guardrail.demo.summary import summarise
from guardrail.demo.tables import scene_table, side_table, summary_table
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.wording import digits_down
from guardrail.errors import ConfigError, UpstreamError
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Step

TRIES = 4
MISSED = "go to hell, scum."  # by the oracle of these tests
HARM = (MISSED, "i will kill you.")


def run(policy, engine, scenes, *, tries=TRIES):
    steps = []
    results = asyncio.run(
        run_demo(policy, engine, scenes, tries=tries, done=lambda: steps.append(1))
    )
    assert len(steps) == len(results) == len(scenes)
    return results


@pytest.fixture
def results(policy, engine, scenes):
    return run(policy, engine, scenes)


def of(results, kind):
    return [result for result in results if result.scene.kind is kind]


def test_the_three_systems_are_told_apart(results):
    """What the bare model says is what happens; the single check lets through what is missed."""
    for result in results:
        assert result.harmful_undefended == tuple(text in HARM for text in result.undefended)
        assert result.harmful_single_check == tuple(text == MISSED for text in result.undefended)
        assert result.harmful_guarded == (False,) * len(result.guard)
    attacked = of(results, SceneKind.ATTACKED_LARGE)
    said = {text for result in attacked for text in result.undefended}
    assert set(HARM) <= said <= {*HARM, "a dog."}
    for result in of(results, SceneKind.ATTACKED_SMALL):
        assert not any(result.harmful_undefended)
    for result in of(results, SceneKind.FORBIDDEN):
        assert result.harmful_undefended == (True,) * TRIES
        assert not any(one.passed for one in result.guard)
    for kind in (SceneKind.CLEAN, SceneKind.ATTACKED_SMALL):
        for result in of(results, kind):
            assert result.judged_harmless == (True,) * TRIES
            assert [one.passed for one in result.guard] == [True]


def test_every_try_carries_a_certificate_that_holds(results):
    for one in (one for result in results for one in result.guard):
        certificate = decode_certificate(one.certificate)
        verify_certificate(certificate, one.certificate)
        assert one.samples == len(one.outcomes) == certificate.samples
        assert one.harmless == sum(o is Outcome.HARMLESS for o in one.outcomes)
        assert one.decision == one.certificate["decision"]
        assert one.passed is (one.decision == "pass")
        assert (one.radius > 0) is one.passed
        assert one.elapsed_ms > 0
        assert bool(one.delivered) is one.passed


def test_every_try_meets_other_noise(results):
    for result in of(results, SceneKind.ATTACKED_LARGE):
        assert len({one.outcomes for one in result.guard}) > 1
        assert len({one.certificate["request_digest"] for one in result.guard}) == TRIES


def test_the_summary_counts_what_happened(results):
    summary = summarise(results)
    facts = summary.to_dict()
    hostile = [text for r in results if r.scene.kind.is_hostile for text in r.undefended]
    assert facts["undefended_attack_success"] == 1.0
    assert facts["single_check_attack_success"] > 0.0
    assert facts["guarded_attack_success"] == 0.0
    share = sum(text in HARM for text in hostile) / len(hostile)
    assert facts["undefended_harmful_share"] == pytest.approx(share)
    assert facts["single_check_harmful_share"] == pytest.approx(
        hostile.count(MISSED) / len(hostile)
    )
    assert facts["guarded_harmful_share"] == 0.0
    assert facts["clean_pass_rate"] == facts["single_check_clean_pass_rate"] == 1.0
    assert facts["forbidden_block_rate"] == 1.0
    assert facts["tries"] == TRIES
    samples = [one.samples for result in results for one in result.guard]
    assert facts["calls_per_request"] == pytest.approx(sum(samples) / len(samples))


def test_the_report_stands_alone_and_shows_every_picture(results, engine, tmp_path):
    file = tmp_path / "demo.html"
    write_report(file, results, summarise(results), engine)
    page = file.read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.findall(r"https?://|<script|@import|url\(", page)
    assert page.count("<div class=card>") == len(results)
    assert page.count("<polyline") == len(results)
    for result in results:
        assert f'alt="{result.scene.name}"' in page
    # What a model says is shown, never run.
    assert "<b>some</b>" not in page
    assert html.escape("[red]grapes & <b>some</b> dogs.") in page


def test_the_report_says_of_attacks_where_they_lie(results, engine, tmp_path):
    file = tmp_path / "demo.html"
    write_report(file, results, summarise(results), engine)
    page = html.unescape(file.read_text())
    for name, position in locate_attacks(results).items():
        (card,) = (c for c in page.split("<div class=card>") if f'alt="{name}"' in c)
        told = explain_position(position)
        assert f"{position.side}</span> {told} The guard passed it in " in card
    assert page.count("so the certificate of clean-1 speaks of it") == 1
    assert "inside the radius</td><td>0.1961</td>" in page


def test_the_variants_in_the_report_wear_their_verdicts(results, engine, tmp_path):
    file = tmp_path / "demo.html"
    write_report(file, results, summarise(results), engine)
    cards = file.read_text().split("<div class=card>")[1:]
    by_name = {result.scene.name: result for result in results}
    for card in cards:
        name = re.search(r'alt="([\w-]+-\d)"', card)[1]
        shown = re.findall(r'<img class=(\w+) alt="\w+" src="data:image/webp', card)
        outcomes = by_name[name].guard[0].outcomes
        assert shown == [str(o) for o in outcomes[: len(shown)]]
        assert len(shown) == min(18, len(outcomes))


def test_the_tables_print_what_a_model_says_as_it_is(results):
    from rich.console import Console

    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(scene_table(results))
        console.print(summary_table(summarise(results)))
        console.print(side_table(summarise(results)))
    text = shown.get()
    assert "[red]grapes" in text
    assert re.search(r"attacked-small-1 .* 0\.1961 in ", text)
    assert re.search(r"attacked-large-1 .* \d\d\.\d\d out ", text)
    assert "single check" in text
    assert re.search(r"guard\s+0%\s+0\.0%\s+0%", text)
    radius = digits_down(results[0].guard[0].radius)
    inside = rf"inside the radius +0\.1961 +{radius} +0\.5: 2 +(0 of 2 +){{3}}2 of 2"
    assert re.search(inside, text)
    assert re.search(r"outside of it .* none: 2 +2 of 2 +\d of 2 +0 of 2 +\d of 8", text)


def test_the_curves_stay_in_their_picture_and_rise_to_the_bound(results):
    svg = bound_curves(results)
    ElementTree.fromstring(svg)  # noqa: S314 (our own words)
    lines = re.findall(r'points="([^"]+)"', svg)
    assert len(lines) == len(results)
    for line, one in zip(lines, results, strict=True):
        points = [tuple(map(float, pair.split(","))) for pair in line.split()]
        assert len(points) == len(one.guard[0].outcomes) + 1
        assert all(0 <= x <= 1100 and 0 <= y <= 340 for x, y in points)
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        heights = [y for _, y in points]
        if set(one.guard[0].outcomes) == {Outcome.HARMLESS}:  # then the bound only grows
            assert heights == sorted(heights, reverse=True)
            assert heights[-1] < heights[0]
    assert svg.count("<circle") == sum(one.guard[0].passed for one in results)


def test_a_policy_that_blocks_with_an_error_can_be_shown_all_the_same(policy, make_engine, scenes):
    strict = policy.model_copy(update={"block": policy.block.model_copy(update={"style": "error"})})
    (result,) = run(strict, make_engine(used=strict), scenes[-1:], tries=1)
    assert not result.guard[0].passed


def test_a_policy_that_only_observes_delivers_harm_and_says_so(scenes, make_engine, tmp_path):
    from guardrail.policy.load import load_policy

    observe = load_policy("observe")
    engine = make_engine(used=observe)
    results = run(observe, engine, scenes[::2], tries=1)
    write_report(tmp_path / "demo.html", results, summarise(results), engine)
    assert results[-1].guard[0].passed
    assert results[-1].guard[0].decision == "block"
    assert results[-1].harmful_guarded == (True,)
    assert summarise(results).guard.per_try >= 0.5  # what the attacked picture says is luck


def test_a_model_that_fails_ends_the_demo_with_one_error(policy, make_engine, scenes):
    def script(call):
        return Step(fault=Fault.STATUS, status=401) if call.index > 4 else "a dog."

    with pytest.raises(UpstreamError, match="HTTP 401"):
        run(policy, make_engine(script=script), scenes)


def with_limits(policy, **limits):
    advanced = policy.advanced
    changes = {"limits": advanced.limits.model_copy(update=limits)}
    return policy.model_copy(update={"advanced": advanced.model_copy(update=changes)})


def test_a_machine_that_is_far_too_slow_ends_the_demo_early(policy, make_engine, scenes, slow_on):
    hasty = with_limits(policy, deadline_s=2.0)
    engine = make_engine(script=slow_on(40, 128, 215), used=hasty)
    with pytest.raises(UpstreamError, match=r"first 3 .*\(deadline\); this machine is too slow"):
        run(hasty, engine, scenes, tries=1)


@pytest.mark.nightly
def test_decisions_that_time_ended_are_no_blocks(policy, make_engine, scenes, slow_on, tmp_path):
    hasty = with_limits(policy, deadline_s=6.0)  # the others take some tenths of one
    engine = make_engine(script=slow_on(40), used=hasty)
    results = run(hasty, engine, scenes[::2], tries=1)
    clean, *_, forbidden = (result.guard[0] for result in results)
    assert (clean.ending, clean.reason) == ("pass", "certified")
    assert (forbidden.ending, forbidden.reason, forbidden.was_late) == ("none", "deadline", True)
    summary = summarise(results)
    assert summary.undecided == {"deadline": 1}
    assert summary.forbidden_block_rate is None
    assert "this machine is too slow" in summary.complaint
    write_report(tmp_path / "demo.html", results, summary, engine)
    page = (tmp_path / "demo.html").read_text()
    assert '<span class="badge none">none</span> deadline:' in page
    assert "1 of 4 decisions ended without a judgement" in page


def test_calls_that_were_too_slow_count_as_late(policy, make_engine, scenes, slow_on):
    hasty = with_limits(policy, call_timeout_s=0.1, retries=0)
    (result,) = run(hasty, make_engine(script=slow_on(40), used=hasty), scenes[-1:], tries=1)
    (one,) = result.guard
    assert (one.ending, one.reason, one.was_late) == ("none", "upstream failed", True)


@pytest.mark.nightly
def test_the_command_complains_and_exits_with_1(
    policy, make_engine, scenes, slow_on, monkeypatch, tmp_path
):
    from guardrail.cli import demo

    hasty = with_limits(policy, deadline_s=6.0)  # the others take some tenths of one
    engine = make_engine(script=slow_on(40), used=hasty)
    monkeypatch.setattr("guardrail.demo.scenes.load_scenes", lambda: scenes[::2])
    monkeypatch.setattr("guardrail.assembly.build_engine", lambda *_: engine)
    monkeypatch.setattr("guardrail.assembly.read_policy", lambda _: hasty)
    options = ["--tries", "1", "--out", str(tmp_path / "demo.html")]
    done = CliRunner().invoke(demo.command, options)
    assert done.exit_code == 1, done.output
    assert "1 of 4 decisions ended without a judgement (deadline: 1)" in done.stdout
    assert "guardrail: 1 of 4 decisions are missing" in done.stderr
    assert (tmp_path / "demo.html").is_file()
    assert re.search(r"forbidden-1 .*none +deadline", done.stdout)
    facts = json.loads(CliRunner().invoke(demo.command, [*options, "--json"]).stdout)
    assert facts["undecided"] == {"deadline": 1}
    assert facts["clean_pass_rate"] == 1.0
    assert [scene["ending"] for scene in facts["scenes"]][-1] == "none"
    small, large = facts["attacked"]["inside"], facts["attacked"]["outside"]
    assert (small["pictures"], small["passed"], small["decisions"]) == (1, 1, 1)
    assert (large["pictures"], large["undefended_harmful_pictures"]) == (1, 1)
    attacks = [scene["attack"] for scene in facts["scenes"]]
    assert [attack and attack["position"] for attack in attacks] == [
        None,
        "inside",
        "outside",
        None,
    ]
    assert attacks[1]["certified_radius"] == facts["scenes"][0]["radius"] > attacks[1]["attack_l2"]


@pytest.fixture
def last_words(policy, engine, scenes, monkeypatch, tmp_path):
    """What the command says at its end, of four pictures in a folder whose name has a blank."""
    from guardrail.cli import demo

    monkeypatch.setattr("guardrail.demo.scenes.load_scenes", lambda: scenes[::2])
    monkeypatch.setattr("guardrail.assembly.build_engine", lambda *_: engine)
    monkeypatch.setattr("guardrail.assembly.read_policy", lambda _: policy)
    folder = tmp_path / "a folder"
    folder.mkdir()
    done = CliRunner().invoke(demo.command, ["--tries=1", "--out", str(folder / "demo.html")])
    assert done.exit_code == 0, done.output
    return done.stdout


def read_page(command, path):
    """A page of the console that a command opens."""
    words = [*shlex.split(command), "--port=0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as shown:
        try:
            lines = (re.search(r"http://\S+/console/", line) for line in shown.stderr)
            url = next(found[0] for found in lines if found)
            transport = httpx.HTTPTransport(retries=10)
            with httpx.Client(transport=transport, timeout=60, trust_env=False) as client:
                return client.get(f"{url}{path}").text
        finally:
            shown.terminate()


def test_the_command_that_it_ends_with_shows_the_decisions_again(last_words):
    address, command = re.search(r"at (http://\S+):\n  (.+)\n", last_words).groups()
    assert address == "http://127.0.0.1:8081/console/"
    assert read_page(command, "decisions").count("data-row") == 4


@pytest.mark.nightly
def test_the_other_one_serves_on_them(last_words):
    show, serve = re.search(r"prints:\n  (.+) && (.+)\n", last_words).groups()
    subprocess.run(show, shell=True, check=True)  # noqa: S602 (a line for a shell)
    assert read_page(serve, "decisions").count("data-row") == 4


@pytest.mark.parametrize(
    ("called", "found", "words"),
    [
        ("/usr/bin/guardrail", "/usr/bin/guardrail", ["guardrail"]),
        (".venv/bin/guardrail", None, [".venv/bin/guardrail"]),
        (".venv/bin/guardrail", "/usr/bin/guardrail", [".venv/bin/guardrail"]),
        ("/a/guardrail/__main__.py", "/usr/bin/guardrail", [sys.executable, "-m", "guardrail"]),
    ],
)
def test_the_command_is_named_as_it_was_called(monkeypatch, called, found, words):
    from guardrail.cli import demo

    monkeypatch.setattr("sys.argv", [called, "demo"])
    monkeypatch.setattr("shutil.which", lambda _: found)
    assert demo._program() == words


def test_shipped_scenes_come_back(picture_folder, scenes):
    assert load_scenes(picture_folder) == scenes


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "scenes.json").unlink(),
        lambda folder: (folder / "clean-1.png").unlink(),
        lambda folder: (folder / "scenes.json").write_text("{"),
        lambda folder: (folder / "scenes.json").write_text("[]"),
        lambda folder: (folder / "scenes.json").write_text('{"scenes": [{"name": "clean-1"}]}'),
        lambda folder: (folder / "scenes.json").write_text('{"scenes": [3]}'),
    ],
)
def test_missing_or_damaged_pictures_say_what_to_do(picture_folder, damage):
    damage(picture_folder)
    with pytest.raises(ConfigError, match=r"install the package again"):
        load_scenes(picture_folder)
