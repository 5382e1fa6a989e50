"""Who may speak to the server: the host that is asked for, the page that asks, and the token."""

import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

PROTOCOL = "ctxmem.1"  # of the WebSocket; a token goes beside it, for browsers can send no other header with one
_TOKEN = "token."
_HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("connection", "close"),  # each connection asks once, so that one deadline holds for all that it does
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at that address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that lets nothing through to `app` but what may ask.

    - Host must be an address, localhost or one of `hosts`: a page elsewhere whose name was made to lead here ("DNS
      rebinding") is asked for by that name. Where `local`, the address must be one of this machine.
    - Origin, which browsers send with whatever a page asks of another one, must be that host.
    - With a `token`, whatever is under /api/ needs it: "Authorization: Bearer TOKEN", or, of a WebSocket, the
      subprotocol "token.TOKEN". The page itself holds nothing that is secret.
    """

    def __init__(self, app, token: str | None, hosts: Sequence[str], local: bool):
        self.app, self.token, self.hosts, self.local = app, token, {host.lower() for host in hosts}, local
        self.refused = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        status, text = self._judge(scope, headers)
        if status == 200:
            return await self.app(scope, receive, self._with_headers(send))
        self.refused += 1
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close", "code": 1008})
        body = b'{"error": "%s"}' % text.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        send = self._with_headers(send)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _judge(self, scope, headers: dict[str, list[str]]) -> tuple[int, str]:
        host = headers.get("host", [])
        if len(host) != 1 or not self._is_ours(host[0]):
            return 421, "this host is not served here; the operator can allow it with --allow-host"
        for origin in headers.get("origin", []):
            if urlsplit(origin).netloc.lower() != host[0].lower():
                return 403, "this was asked by a page from elsewhere"
        if self.token is not None and scope["path"].startswith("/api/"):
            given = [value.removeprefix("Bearer ") for value in headers.get("authorization", [])]
            given += [name.removeprefix(_TOKEN) for name in scope.get("subprotocols", []) if name.startswith(_TOKEN)]
            if not any(hmac.compare_digest(one.encode(errors="replace"), self.token.encode()) for one in given):
                return 401, "the token is missing or wrong; it is in the address that the server printed"
        return 200, ""

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit("//" + host).hostname or "").lower()
            _ = urlsplit("//" + host).port
        except ValueError:
            return False
        if name in self.hosts or is_loopback(name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self.local

    @staticmethod
    def _with_headers(send):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS]
                message = message | {"headers": [*message.get("headers", []), *own]}
            await send(message)

        return send_with_headers
