"""Specifications of the assets: what lands in the warehouse, and what never does."""
