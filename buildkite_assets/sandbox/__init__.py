"""A deterministic simulation of Buildkite's REST API, for tests and for trying things out."""

from .organization import Organization
from .sandbox import Sandbox
from .server import SandboxServer, run, serve
from .tokens import Token

__all__ = ["Organization", "Sandbox", "SandboxServer", "Token", "run", "serve"]
