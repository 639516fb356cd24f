"""Figures of CI and access."""
