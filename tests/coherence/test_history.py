"""The judge, on histories made by hand."""

from history import History, Stale


def made(*log: list, until: int = 10_000) -> History:
    h = History()
    h.learn(list(log), until)
    return h


def one() -> History:
    """c was created at 100; its states began at 100, 200, 300."""
    return made(
        ["s", 1, 0, 100, "create"], ["n", "c", 1, 100], ["s", 1, 1, 200, "w1"], ["s", 1, 2, 300, "w2"]
    )


def test_a_read_beside_a_write_may_see_either() -> None:
    h = one()
    assert h.judge(b"c=1.0", 150, 250) is None
    assert h.judge(b"c=1.1", 150, 250) is None


def test_an_answer_that_a_finished_write_made_old_is_stale() -> None:
    bad = one().judge(b"c=1.0", 250, 260)
    assert isinstance(bad, Stale) and bad.behind == 50 and "w1" in bad.why
    assert one().judge(b"c=1.1", 301, 302)


def test_the_moment_of_the_change_counts_for_both() -> None:
    h = one()
    assert h.judge(b"c=1.0", 200, 210) is None and h.judge(b"c=1.0", 201, 210)
    assert h.judge(b"c=1.1", 190, 200) is None and h.judge(b"c=1.1", 190, 199)


def test_a_state_that_never_was_is_no_answer() -> None:
    assert (
        one().judge(b"c=1.7", 250, 400)
        and one().judge(b"c=9.0", 250, 400)
        and one().judge(b"d=1.0", 150, 160)
    )


def test_an_alias_means_what_it_meant_then() -> None:
    h = made(
        ["s", 1, 0, 100, "create"], ["n", "c", 1, 100], ["s", 2, 0, 100, "create"], ["n", "d", 2, 100],
        ["n", "a", 1, 110], ["n", "a", 2, 200], ["n", "a", 1, 300],
    )  # fmt: skip
    assert h.judge(b"a=1.0", 150, 160) is None
    assert h.judge(b"a=2.0", 150, 160) and h.judge(b"a=1.0", 250, 260)
    assert h.judge(b"a=1.0", 350, 360) is None and h.judge(b"a=1.0", 250, 300) is None
    assert h.judge(b"c=1.0", 250, 260) is None


def test_states_of_two_collections_must_have_been_at_one_moment() -> None:
    h = made(
        ["s", 1, 0, 100, "create"], ["n", "c", 1, 100], ["s", 2, 0, 100, "create"], ["n", "d", 2, 100],
        ["s", 1, 1, 200, "w"], ["s", 2, 1, 300, "w"],
    )  # fmt: skip
    assert h.judge(b"c=1.0 d=2.1", 150, 350), "c had moved on before d had that"
    assert h.judge(b"c=1.1 d=2.0", 150, 350) is None


def test_an_earlier_incarnation_is_stale() -> None:
    h = made(
        ["s", 1, 0, 100, "create"],
        ["n", "c", 1, 100],
        ["n", "c", 0, 200],
        ["s", 2, 0, 300, "create"],
        ["n", "c", 2, 300],
    )
    assert h.judge(b"c=1.0", 150, 160) is None
    assert h.judge(b"c=1.0", 250, 260) and h.judge(b"c=1.0", 350, 360)
    assert h.judge(b"c=2.0", 350, 360) is None


def test_nothing_found_is_right_only_while_there_was_nothing() -> None:
    h = made(
        ["s", 1, 0, 100, "create"],
        ["n", "c", 1, 100],
        ["n", "c", 0, 200],
        ["s", 2, 0, 300, "create"],
        ["n", "c", 2, 300],
    )
    assert h.judge_missing(("c",), 50, 60) is None
    assert h.judge_missing(("c",), 150, 160)
    assert h.judge_missing(("c",), 190, 210) is None and h.judge_missing(("c",), 250, 260) is None
    assert h.judge_missing(("c",), 290, 310) is None and h.judge_missing(("c",), 310, 320)
    assert h.judge_missing(("c", "unheard-of"), 310, 320) is None
