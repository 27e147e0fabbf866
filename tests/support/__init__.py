"""Helpers that several test files share, such as a virtual clock and a scripted transport."""
