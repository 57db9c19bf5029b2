"""The validator of the IVOA's community finds no fault with the service (``stilts taplint``, Debian package stilts)."""

import re
import shutil
import subprocess

import pytest

pytestmark = [pytest.mark.server, pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")]

STAGES = "TMV TME TMS TMC CPV CAP AVV QGE QPO QAS UWS UPL EXA MDQ"

KNOWN = (
    # Features of ADQL 2.1 that stilts 3.4.7 has not heard of; they are in the standard and stay declared.
    r"E-CAP-KEYX-\d+ Unknown standard feature key \"ivo://ivoa.net/std/TAPRegExt#features-adql-conditional\"",
)


def stilts(*arguments: str) -> str:
    done = subprocess.run(["stilts", *arguments], capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


def test_taplint_finds_no_fault(demo: str) -> None:
    report = stilts("taplint", f"tapurl={demo}/tap", f"stages={STAGES}", "maxrepeat=1000")
    (totals,) = re.findall(r"^Totals: .*$", report, re.MULTILINE)
    print(f"stilts taplint, stages {STAGES}: {totals}")
    findings = re.findall(r"^[EWF]-.*$", report, re.MULTILINE)
    assert [line for line in findings if not any(re.match(pattern, line) for pattern in KNOWN)] == []
    (examples,) = re.findall(r"^S-EXA-XVAL-\d+ .*$", report, re.MULTILINE)
    counts = re.findall(r"(\d+)/(\d+)", examples)
    assert len(counts) == 3
    assert all(good == tried != "0" for good, tried in counts), examples
