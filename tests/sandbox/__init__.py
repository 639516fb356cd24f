"""Tests of the simulated Buildkite, over real HTTP."""
