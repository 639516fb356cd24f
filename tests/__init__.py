"""Specifications of the project; they mirror the package."""
