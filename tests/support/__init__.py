"""What several test files share: a virtual clock, and a transport that plays a script."""
