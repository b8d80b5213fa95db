"""A set of hashes knows what was added."""

from hypothesis import given
from hypothesis import strategies as st

from aurora.runtime.seen_hashes import SeenHashes

values = st.one_of(st.text(max_size=3), st.tuples(st.text(max_size=2), st.none()))


@given(st.lists(values))
def test_it_answers_as_a_set_does(added: list[object]) -> None:
    seen, expected = SeenHashes(), set()
    for value in added:
        assert seen.add(value) == (value not in expected)
        expected.add(value)
    assert all(value in seen for value in expected)
    assert "another value" not in seen
