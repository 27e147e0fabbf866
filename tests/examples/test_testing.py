"""The example of tests, run as a stranger runs it: in a folder and a process of its own."""


def test_the_example_passes(copy_example, test_example):
    """The tests of the copied example pass, with the plugin that pytest finds by itself."""
    assert "4 passed" in test_example(copy_example("testing"))
