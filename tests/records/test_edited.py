"""No number of a certificate can be edited inside a record, whatever is sealed again."""

import dataclasses
import json

import pytest

from guardrail.engine.certificate.codec import (
    decode_certificate,
    encode_certificate,
    seal_certificate,
)
from guardrail.errors import CertificationError
from guardrail.records.audit import check_record

DERIVED = {"samples", "harmless", "statement", "recall_statement", "radius_in_words"}
CASES = {
    "verdict, one harmful": {"smoothing": {"alpha": 0.05}},
    "harmlessness": {"smoothing": {"alpha": 0.05, "claim": "harmlessness", "floor": 0.3}},
}


@pytest.fixture(
    scope="module",
    params=["verdict, one harmful", pytest.param("harmlessness", marks=pytest.mark.nightly)],
)
def record(request, kit):
    """Of a pass; in one case with a harmful outcome among the first."""
    bad = 1 if "one harmful" in request.param else -1
    sampling = {"plan": "fixed", "max_parallel": 4}
    record = kit.make_record(
        lambda call: kit.HARM if call.index == bad else kit.CLEAN,
        sampling=sampling,
        **CASES[request.param],
    )
    assert record.action == "pass"
    assert record.read_certificate().harmful == (bad > 0)
    check_record(record.seal())
    return record


def test_no_number_of_its_certificate_can_be_edited(record, edit_numbers):
    """Certificate and record under new digests: also the earlier counts, which outcomes bind."""
    data = json.loads(json.dumps(record.certificate))
    given = {name: value for name, value in data.items() if name not in DERIVED}
    tried = set()
    for path, tampered in edit_numbers(given):
        try:
            certificate = decode_certificate(tampered)
        except CertificationError:
            continue
        tried.add(path)
        forged = dataclasses.replace(
            record, certificate=encode_certificate(seal_certificate(certificate))
        )
        with pytest.raises(CertificationError):
            check_record(forged.seal())
    assert {("counts", 0, 1), ("delta",), ("alpha",), ("stability", 0, "radius")} <= tried
