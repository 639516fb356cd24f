"""Specifications of the warehouse: what is merged, kept, published and refused."""
