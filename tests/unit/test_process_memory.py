"""The peak memory of a process: cheap where that can be trusted, dear where not."""

from __future__ import annotations

from dataflow.process_memory import PeakMemory, peak_memory


class Source:
    """Says a figure, and how often it was asked."""

    def __init__(self, figure: int | None) -> None:
        self.figure = figure
        self.asked = 0

    def __call__(self) -> int | None:
        self.asked += 1
        return self.figure


def test_the_cheap_source_is_believed_where_it_spoke_of_this_process_at_first() -> None:
    cheap, sure = Source(100), Source(100)
    memory = PeakMemory(cheap, sure)
    assert memory.peak() == 100
    cheap.figure = 150
    assert memory.peak() == 150
    assert sure.asked == 1


def test_what_a_large_parent_handed_down_is_not_taken_for_this_process() -> None:
    cheap, sure = Source(900), Source(20)
    memory = PeakMemory(cheap, sure)
    assert memory.peak() == 20
    sure.figure = 300
    assert memory.peak() == 300
    cheap.figure = sure.figure = 1000
    asked = sure.asked
    assert memory.peak() == 1000
    assert sure.asked == asked, "from here on the cheap one speaks of this process"


def test_without_a_sure_source_the_cheap_one_is_all_there_is() -> None:
    assert PeakMemory(Source(7), Source(None)).peak() == 7
    assert PeakMemory(Source(None), Source(None)).peak() is None


def test_this_process_has_a_peak_that_never_falls() -> None:
    before = peak_memory()
    assert before is not None and before > 2**20
    held = bytearray(2**20)
    after = peak_memory()
    assert after is not None and after >= before and held is not None
