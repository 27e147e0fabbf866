"""The example of tests, run like a user runs it: in its own folder and its own process."""


def test_the_example_passes(copy_example, test_example):
    """The tests of the copied example pass. pytest finds the plugin by itself."""
    assert "4 passed" in test_example(copy_example("testing"))
