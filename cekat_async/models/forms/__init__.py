"""The forms of a record outside of Python: JSON, a pydantic field, and an HTML table.

Start with ``json_object.py``.
"""
