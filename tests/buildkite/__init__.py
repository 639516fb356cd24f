"""How we talk to Buildkite, through real HTTP."""
