"""Tests of the notebooks, run as they are."""
