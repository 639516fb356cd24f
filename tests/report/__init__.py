"""Tests of what notebooks and the page tell people."""
