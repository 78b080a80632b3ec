"""Known pictures in bulk: no call for them, and a list that changes is heeded without paying."""

import hashlib

import pytest

from guardrail.api.pictures.apart import decode_safely
from guardrail.bulk.outcome import UNREADABLE
from guardrail.errors import RequestError
from tests.bulk.conftest import POLICY
from tests.bulk.test_job import picture_rows, run_job

REASON = "known harmful picture"


@pytest.fixture
def listing(bench, tmp_path, pictures):
    """Benches whose policy lists some of the pictures."""

    def make(*known):
        lines = [hashlib.sha256(pictures[i].read_bytes()).hexdigest() for i in known]
        (tmp_path / "known.txt").write_text("".join(f"{line}\n" for line in lines))
        policy = f"{POLICY}known_pictures: {{lists: [known.txt]}}\n"
        return bench(policy=policy, file=tmp_path / "policy.yaml")

    return make


class TestAPictureThatDecodesNoMore:
    """As its decoder is another one by now; looked up again only where the lists have changed."""

    @pytest.mark.parametrize("code", ["invalid_image", "image_too_large", "unsupported_image_type"])
    def test_is_not_decided_and_the_job_goes_on(
        self, listing, tmp_path, pictures, monkeypatch, code
    ):
        log, rows = tmp_path / "log.jsonl", picture_rows(pictures[:3])
        run_job(listing(1), log, rows)
        first = pictures[0].read_bytes()

        def refuse(data, **options):
            if data == first:
                raise RequestError("the picture is damaged", code=code)
            return decode_safely(data, **options)

        monkeypatch.setattr("guardrail.api.pictures.loader.decode_safely", refuse)
        again = listing(1, 2)
        _, found = run_job(again, log, rows)
        assert reasons(found) == [UNREADABLE, REASON, REASON]
        assert found["0.png"].decision.value == "not decided"
        assert again.calls == 0


def reasons(found):
    return [found[name].reason for name in sorted(found)]


def test_a_list_that_changes_between_runs_costs_only_what_it_sets_free(
    bench, listing, tmp_path, pictures
):
    log, rows = tmp_path / "log.jsonl", picture_rows(pictures[:3])
    first = listing(1)
    _, found = run_job(first, log, rows)
    assert reasons(found) == ["certified", REASON, "certified"]
    assert found["1.png"].decision.value == "block"
    assert found["1.png"].known_picture == "known.txt:1 (the same file)"
    assert found["1.png"].certificate is None
    assert found["1.png"].calls == 0
    a_row = found["0.png"].calls
    assert first.calls == 2 * a_row

    more = listing(0, 1)  # another one is listed: it is blocked, and nothing is paid for
    job, found = run_job(more, log, rows)
    assert reasons(found) == [REASON, REASON, "certified"]
    assert (more.calls, job.decided_before) == (0, 2)

    fewer = listing(0)  # one is listed no more: it is decided
    _, found = run_job(fewer, log, rows)
    assert reasons(found) == [REASON, "certified", "certified"]
    assert fewer.calls == a_row

    none = bench()  # nor are any
    _, found = run_job(none, log, rows)
    assert reasons(found) == ["certified"] * 3
    assert none.calls == a_row
