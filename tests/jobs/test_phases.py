"""The table of moves (UWS 1.1, "Execution Phase")."""

import pytest

from gateway.jobs.phases import BLOCKING, FINAL, MOVES, Phase, sources


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.ERROR, Phase.ABORTED])
def test_a_job_that_has_ended_can_only_be_archived(phase: Phase) -> None:
    assert MOVES[phase] == {Phase.ARCHIVED}


def test_only_a_running_job_completes() -> None:
    assert sources(Phase.COMPLETED) == {Phase.EXECUTING}


def test_run_starts_from_pending_or_held() -> None:
    assert sources(Phase.QUEUED) == {Phase.PENDING, Phase.HELD}


def test_abort_is_possible_until_the_end() -> None:
    assert sources(Phase.ABORTED) == {Phase.PENDING, Phase.HELD, Phase.QUEUED, Phase.EXECUTING}


def test_nothing_leads_back_to_pending() -> None:
    assert not sources(Phase.PENDING)


def test_wait_never_blocks_in_a_final_phase() -> None:  # UWS-28
    assert not BLOCKING & FINAL
