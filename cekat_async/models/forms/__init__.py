"""The forms of a record outside of Python: JSON, a pydantic field, a table in HTML.

Start with ``json_object.py``.
"""
