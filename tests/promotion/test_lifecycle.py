"""A promotion's states."""

from __future__ import annotations

import pytest

from secguard.errors import Conflict
from secguard.promotion.lifecycle import TRANSITIONS, PromotionEvent, PromotionStatus, after, sources


def test_every_step_of_the_table_and_no_other():
    for status in PromotionStatus:
        for event in PromotionEvent:
            if (status, event) in TRANSITIONS:
                assert after(status, event) is TRANSITIONS[status, event]
                assert status.value in sources(event)
            else:
                with pytest.raises(Conflict, match=f"is {status}"):
                    after(status, event)


def test_nothing_leads_out_of_an_end_but_a_recall_and_another_try():
    ends = {PromotionStatus.REFUSED, PromotionStatus.WITHDRAWN, PromotionStatus.RECALLED}
    assert not [s for s, _ in TRANSITIONS if s in ends]
    assert [e for s, e in TRANSITIONS if s is PromotionStatus.PROMOTED] == [PromotionEvent.RECALL]
