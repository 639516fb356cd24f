"""The program that draws: a request per line of standard input, an answer per line of output.

It runs as a file rather than as a module, so that it loads nothing of this package.
"""

import json
import sys
from base64 import b64encode
from typing import Any

import vl_convert


def _drawn(form: str, spec: dict[str, Any], config: dict[str, Any], scale: float) -> str:
    """Return a Vega-Lite spec as SVG, or as PNG in Base64."""
    if form == "svg":
        return vl_convert.vegalite_to_svg(spec, config=config, allowed_base_urls=[])
    png = vl_convert.vegalite_to_png(spec, scale=scale, config=config, allowed_base_urls=[])
    return b64encode(png).decode()


for line in sys.stdin:
    try:
        answer = {"drawn": _drawn(**json.loads(line))}
    except ValueError as error:
        answer = {"error": str(error).partition("\n    at ")[0]}  # the rest is JavaScript's stack
    print(json.dumps(answer), flush=True)  # noqa: T201 - the answer
