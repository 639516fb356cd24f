"""Tests of the derived tables, over histories small enough to check on paper."""
