"""Helpers that several test files use, such as a virtual clock and a scripted transport."""
