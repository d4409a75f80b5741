# SPDX-License-Identifier: Apache-2.0
"""Errors as `application/problem+json` (RFC 9457), for every error of an app alike."""

from __future__ import annotations

import json
from http import HTTPStatus

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from fortress import logs
from fortress.errors import FortressError, UsageError


class Refusal(Exception):
    """A request that is not served: the status, and a sentence that says why and what to do."""

    def __init__(self, status: HTTPStatus, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def problem(status: int, detail: str) -> Response:
    """The response that tells a problem; `type` is about:blank, so `title` is the status's own."""
    told = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    text = json.dumps(told | {"detail": detail}, ensure_ascii=False) + "\n"
    return Response(text, status, mimetype="application/problem+json")


def tell_problems(app: Flask) -> None:
    """Make every error of `app` a problem; what nobody foresaw is logged, its detail kept back."""
    log = logs.logger("http")

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        response = problem(refusal.status, refusal.detail)
        response.headers.extend(refusal.headers)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = problem(error.code or 500, error.description or "")
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    @app.errorhandler(FortressError)
    def cannot(error: FortressError) -> Response:
        return problem(400 if isinstance(error, UsageError) else 409, str(error))

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        log.error("unforeseen", error=repr(error), exc_info=error)
        return problem(500, "this was not foreseen; the service's log has more")
