"""Where block lists come from: a web server of a test's own."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NETSET = """\
# a list of networks
1.10.16.0/20 ; SBL256894
2.56.192.0/22
203.0.113.9   # one address
203.0.113.9
2001:db8:bad::/48
"""


@dataclass
class Site:
    """A web server on loopback and what it does next."""

    url: str = ""
    body: bytes = NETSET.encode()
    status: int = 200
    location: str = ""
    etag: str = '"1"'
    delay: threading.Event = field(default_factory=threading.Event)
    slow: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """A web server on loopback, of the network namespace that the caller is in."""
    site = Site()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(dict(self.headers))
            same = self.headers.get("If-None-Match") == site.etag
            self.send_response(304 if same else site.status)
            if site.location:
                self.send_header("Location", site.location)
            self.send_header("ETag", site.etag)
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            body = b"" if same else site.body
            if not site.slow:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if site.slow:
                self.wfile.write(body[:10])
                self.wfile.flush()
                site.delay.wait(5)
            else:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/list.netset"
    yield site
    site.delay.set()
    server.shutdown()
    thread.join()
    server.server_close()
