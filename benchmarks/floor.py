"""The least that any client does: download, unpack and parse the same bodies, and keep nothing.

Run as a program with the API's base URL, the token and a folder whose `paths.txt` tells the paths.
"""

import sys
from pathlib import Path
from urllib.parse import urljoin

import httpx
import orjson


def main() -> None:
    """Get every path of the file and parse what comes back."""
    base, token, folder = sys.argv[1:]
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
    with httpx.Client(headers=headers, timeout=60) as client:
        for path in (Path(folder) / "paths.txt").read_text().splitlines():
            orjson.loads(client.get(urljoin(base, path)).content)


if __name__ == "__main__":
    main()
