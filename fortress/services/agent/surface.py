# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP API: one Flask app on a loopback port and on the unix control socket.

It reads an AgentView and asks an AgentControl; it knows no loop. JSON throughout but for /metrics
(Prometheus' text) and /events (server-sent events).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify, request

from fortress import events, metrics
from fortress.config import Settings
from fortress.http.access import Rules, group_id, guard, host_names, is_loopback
from fortress.http.problems import Refusal, tell_problems
from fortress.http.serving import serving
from fortress.http.sockets import tcp_socket, unix_socket
from fortress.http.sse import Broadcast, TooManyReadersError
from fortress.http.tokens import Failures, token
from fortress.services.agent.view import DROPS, AgentControl, AgentView

MOST_FINDINGS = 1000
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@contextlib.contextmanager
def surface(
    view: AgentView, stream: Broadcast, control: AgentControl | None, settings: Settings
) -> Iterator[tuple[str, ...]]:
    """Serve the API while the block runs; gives the addresses at which it answers.

    `control` None = nothing can be changed (a replay). Errors of sockets and token name the setting
    at fault; another agent on the same socket or port is named with its pid.
    """
    listen, path = settings.metrics.listen, settings.control_path()
    with contextlib.ExitStack() as stack:
        stack.callback(stream.close)
        sockets, addresses = [], []
        gids = frozenset[int]()
        if path is not None:
            if settings.control.group:
                gids = frozenset({group_id(settings.control.group)})
            gid = next(iter(gids), -1)
            sockets.append(stack.enter_context(unix_socket(path, gid=gid)))
            addresses.append(str(path))
        if listen:
            sockets.append(stack.enter_context(tcp_socket(listen, "metrics.listen")))
            addresses.append(f"http://{listen}")
        if not sockets:
            yield ()
            return
        rules = Rules(
            token=token(settings.token_path()),
            hosts=host_names(listen, tuple(settings.control.hosts)),
            open_reading=is_loopback(listen),
            gids=gids,
        )
        stack.enter_context(serving(make_app(view, stream, control, rules), sockets))
        stack.callback(stream.close)  # first of all, so that no stream holds the server up
        yield tuple(addresses)


def make_app(
    view: AgentView, stream: Broadcast, control: AgentControl | None, rules: Rules
) -> Flask:
    """The WSGI app; `fortress.http.access` checks every request before a view sees it."""
    app = Flask("fortress.agent", static_folder=None)
    failures, rising = Failures(), metrics.Rising()
    tell_problems(app)
    guard(app, rules, failures)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the provider is Flask's own
    for path, answer in _reading(view, stream).items():
        app.add_url_rule(path, path, answer)

    @app.get("/metrics")
    def scrape() -> Response:
        rising.to(metrics.HTTP_WRONG_TOKENS, failures.count)
        return Response(view.metrics(), content_type=PROMETHEUS)

    @app.get("/events")
    def listen() -> Response:
        after = request.headers.get("Last-Event-ID", "")
        try:
            heard = stream.listen(int(after) if after.isdecimal() else None)
        except TooManyReadersError:
            why = "every place of /events is taken (or the agent stops); close another reader"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, why, Retry_After="5") from None
        return Response(heard, mimetype="text/event-stream")

    @app.post("/blocks/confirm")
    def confirm() -> Response:
        target = _body().get("target")
        if not isinstance(target, str) or not 0 < len(target) <= 64:
            raise Refusal(HTTPStatus.BAD_REQUEST, 'the body is {"target": ADDRESS, PREFIX or MAC}')
        return jsonify(asdict(_present(control).confirm(target)))

    @app.post("/reload")
    def reload() -> Response:
        return jsonify(asdict(_present(control).reload()))

    @app.post("/models/promote")
    def promote() -> Response:
        name, version = _words(_body(), "name", "version")
        return jsonify(asdict(_present(control).promote(name, version)))

    @app.post("/models/rollback")
    def rollback() -> Response:
        (name,) = _words(_body(), "name")
        return jsonify(asdict(_present(control).rollback(name)))

    return app


def _reading(view: AgentView, stream: Broadcast) -> dict[str, Callable[[], Any]]:
    """What can be read, by path."""

    def health() -> Any:
        now = view.health()
        return jsonify(asdict(now)), HTTPStatus.OK if now.ok else HTTPStatus.SERVICE_UNAVAILABLE

    def status() -> Any:
        health, told = view.health(), view.status()
        head = {"pid": health.pid, "version": health.version, "uptime_s": health.uptime_s}
        if told is None:
            return jsonify(head | {"state": health.state, "sensors": [], "drops": {}})
        totals = asdict(told.totals)
        drops = {name: totals.pop(name) for name in DROPS} | {"events_lost": stream.lost}
        drops["archive_lost"] = told.archive.rows_lost if told.archive else 0
        return jsonify(head | asdict(told) | {"totals": totals, "drops": drops})

    def score() -> Any:
        now = view.score()
        if now is None:
            return jsonify({"score": None, "reason": "no data: no tick has been judged yet"})
        return jsonify(events.record(now))

    def history() -> Any:
        step_s = _number("step", 1)
        if step_s not in (1, 60):
            raise Refusal(HTTPStatus.BAD_REQUEST, "step is 1 or 60 (seconds)")
        since_s = _number("since", -3600 if step_s == 1 else -86_400)
        since_ns = (since_s if since_s >= 0 else round(time.time()) + since_s) * 1_000_000_000
        rows = [asdict(row) for row in view.history(since_ns, step_s)]
        return jsonify({"step_s": step_s, "rows": rows})

    def findings() -> Any:
        limit = _number("limit", 100)
        if not 1 <= limit <= MOST_FINDINGS:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"limit is 1 to {MOST_FINDINGS}")
        return jsonify({"findings": [events.record(one) for one in view.findings(limit)]})

    def blocks() -> Any:
        return jsonify({"blocks": [asdict(block) for block in view.blocks()]})

    return {
        "/health": health,
        "/status": status,
        "/score": score,
        "/history": history,
        "/findings": findings,
        "/blocks": blocks,
    }


def _number(name: str, default: int) -> int:
    text = request.args.get(name, str(default))
    try:
        return int(text[:20])
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name}: {text[:20]!r} is no whole number") from None


def _body() -> dict[str, Any]:
    """The request's JSON object; Flask refuses what is no JSON, or not said to be."""
    body = request.get_json()
    if not isinstance(body, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is a JSON object")
    return body


def _words(body: dict[str, Any], *keys: str) -> list[str]:
    """The short strings at `keys`, and nothing else."""
    words = [body.get(key) for key in keys]
    if set(body) != set(keys) or not all(isinstance(w, str) and 0 < len(w) <= 64 for w in words):
        wanted = ", ".join(f'"{key}": …' for key in keys)
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is {{{wanted}}}, short strings")
    return [str(word) for word in words]


def _present(control: AgentControl | None) -> AgentControl:
    if control is None:
        raise Refusal(HTTPStatus.CONFLICT, "this agent replays a capture: nothing can be changed")
    return control
