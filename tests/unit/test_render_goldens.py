"""The files of releases that were looked at."""

from __future__ import annotations

import pytest

from hermeion.presentation import plan_text
from hermeion.stages import Stages
from tests.unit.conftest import GOLDEN, Compare
from tests.unit.render_cases import CASES, rendered, service_of


@pytest.mark.parametrize("case", CASES)
def test_golden_files(case: str, golden: Compare) -> None:
    """Every file of a release is, as a whole, the one that was looked at (``--update-golden`` writes them anew)."""
    for path, content in rendered(service_of(case)).items():
        golden(f"{case}/{path}", content)


@pytest.mark.parametrize("case", CASES)
def test_golden_plan(case: str, golden: Compare) -> None:
    """What a person sees of a plan is the text that was looked at."""
    stages = Stages(service=("hermes: not deployed yet",))

    golden(f"{case}/plan.txt", plan_text(CASES[case], stages) + "\n")


@pytest.mark.parametrize("case", CASES)
def test_no_golden_file_is_left_over(case: str) -> None:
    """Every file that was looked at is still written."""
    there = {path.name for path in (GOLDEN / case).iterdir()}

    assert there == {*rendered(service_of(case)), "plan.txt"}
