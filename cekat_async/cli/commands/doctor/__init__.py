"""The command ``cekat doctor``: checks everything that a request needs, and says what to do.

Start with ``diagnosis.py``, which prints the findings. ``server.py`` makes the checks that need the
server. ``extras.py`` lists which libraries are installed.
"""
