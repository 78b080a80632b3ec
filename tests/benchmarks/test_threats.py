"""The certificates that are shown hold, under the code as it is."""

import json
from pathlib import Path

import pytest

from guardrail.engine.certificate.verification import verify_certificate
from guardrail.records.certificate_file import verify_file

FOLDER = Path(__file__).parents[2] / "benchmarks" / "threats"
COVERED = {"l2": [], "crops": ["crops"], "stickers": ["stickers"], "suffix": ["suffix"]}


@pytest.mark.parametrize("name", [*COVERED, "all"])
def test_a_shown_certificate_holds_and_covers_what_its_name_says(name):
    (certificate,) = verify_file(FOLDER / "certificates" / f"{name}.json")
    verify_certificate(certificate)
    threats = [threat.threat.value for threat in certificate.threats]
    assert threats == COVERED.get(name, ["crops", "stickers", "suffix"])
    assert certificate.radius > 0
    page = (FOLDER / "README.md").read_text()
    assert all(claim["claim"] in page for claim in certificate.claims if name == "all")


def test_a_changed_one_does_not_hold(tmp_path):
    fields = json.loads((FOLDER / "certificates" / "all.json").read_text())
    fields["threats"][0]["views"].pop()
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(fields))
    with pytest.raises(Exception, match="does not hold"):
        verify_file(file)
