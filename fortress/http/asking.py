# SPDX-License-Identifier: Apache-2.0
"""Asks a service over its unix socket (JSON over HTTP)."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20


def ask(
    path: Path, resource: str, body: Mapping[str, str] | None, wait_s: float
) -> tuple[int, dict[str, Any]]:
    """The status and the JSON object that a service answers; a POST where there is a body.

    Raises OSError when nobody answers, or not so.
    """
    with closing(HTTPConnection("localhost")) as service:
        service.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        service.sock.settimeout(wait_s)
        try:
            service.sock.connect(str(path))
            if body is None:
                service.request("GET", resource)
            else:
                headers = {"Content-Type": "application/json"}
                service.request("POST", resource, json.dumps(body), headers)
            response = service.getresponse()
            told = json.loads(response.read(MOST_BYTES))
        except (HTTPException, ValueError) as error:
            raise OSError(f"not in JSON over HTTP: {error}") from error
    if not isinstance(told, dict):
        raise OSError("no JSON object")
    return response.status, told
