"""The application: the page, the WebSocket, uploads and downloads."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from ctxmem_env.viewer.guard import PROTOCOL
from ctxmem_env.viewer.house import House
from ctxmem_env.viewer.limits import UPLOAD_BYTES, UPLOAD_SECONDS
from ctxmem_env.viewer.visitor import INTERNAL, Visitor, explain

_PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PIECE = 1 << 18  # bytes of a download that wait for a slow visitor
_DEFAULT_FOV = 65.0  # degrees, of a phone's camera


def make_app(house: House) -> FastAPI:
    """The application over a house, which runs while the application does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(house.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    _add_errors(app)
    _add_page(app)

    @app.get("/api/offer")
    async def offer() -> dict:
        return house.offer.describe()

    @app.websocket("/api/walk")
    async def walk(websocket: WebSocket) -> None:
        if PROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.close(1002)
            return
        await websocket.accept(PROTOCOL)
        await house.receive(websocket)

    @app.post("/api/photograph")
    async def photograph(
        request: Request,
        fov: float = _DEFAULT_FOV,
        distance: float | None = None,
        x_visit: Annotated[str, Header()] = "",
    ) -> dict:
        async with _transfer(_find(house, x_visit)) as visitor:
            data = b"".join([chunk async for chunk in _upload(request)])
            await _show(house, visitor, visitor.visit.photograph, data, fov, distance)
        return {}

    @app.post("/api/world")
    async def load(request: Request, x_visit: Annotated[str, Header()] = "") -> dict:
        async with _transfer(_find(house, x_visit)) as visitor:
            with tempfile.TemporaryDirectory(prefix="ctxmem-") as folder:
                path = Path(folder) / "world.ctxworld"
                with path.open("wb") as file:
                    async for chunk in _upload(request):
                        file.write(chunk)
                await _show(house, visitor, visitor.visit.load, path)
        return {}

    @app.get("/api/world")
    async def save(x_visit: Annotated[str, Header()] = "") -> Response:
        visitor = _find(house, x_visit)
        return _Download(visitor, lambda: visitor.work(house.workers, visitor.visit.save), "world.ctxworld")

    @app.get("/api/video")
    async def film(x_visit: Annotated[str, Header()] = "") -> Response:
        visitor = _find(house, x_visit)

        async def make() -> bytes:
            made = await visitor.work(house.workers, visitor.visit.film)
            return await asyncio.get_running_loop().run_in_executor(house.workers, made)

        return _Download(visitor, make, "walk.mp4", "video/mp4")

    return app


def _add_page(app: FastAPI) -> None:
    """The files of the page, read once: nothing that is asked for becomes a path."""
    for path in _PAGE.iterdir():
        if path.suffix in _TYPES:
            response = Response(path.read_bytes(), media_type=_TYPES[path.suffix])
            name = "" if path.name == "index.html" else path.name
            app.get(f"/{name}")(_gives(response))


def _gives(response: Response) -> Callable[[], Awaitable[Response]]:
    async def give() -> Response:  # in the loop: a thread for each of a crowd would be dear
        return response

    return give


def _add_errors(app: FastAPI) -> None:
    """Every error is one JSON object with a text that was meant for the user."""

    @app.exception_handler(ValueError)
    async def value(_: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({"error": explain(error)}, 400)

    @app.exception_handler(RequestValidationError)
    async def arguments(_: Request, error: RequestValidationError) -> JSONResponse:
        names = ", ".join(sorted({str(part["loc"][-1]) for part in error.errors()}))
        return JSONResponse({"error": f"{names}: expected a number."}, 400)

    @app.exception_handler(StarletteHTTPException)
    async def http(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code)

    @app.exception_handler(Exception)
    async def other(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": INTERNAL}, 500)


def _find(house: House, key: str) -> Visitor:
    visitor = house.visitors.get(key)
    if visitor is None:
        raise HTTPException(403, "this page has no place here; load it again.")
    return visitor


async def _upload(request: Request) -> AsyncIterator[bytes]:
    """The body of a request, which must not be too large or take too long."""
    too_large = HTTPException(413, f"the file is larger than {UPLOAD_BYTES >> 20} MB.")
    length, size = request.headers.get("content-length", "0"), 0
    if not length.isdecimal() or int(length[:20]) > UPLOAD_BYTES:
        raise too_large
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > UPLOAD_BYTES:
                    raise too_large
                yield chunk
    except ClientDisconnect:
        raise HTTPException(400, "the upload was broken off.") from None
    except TimeoutError:
        raise HTTPException(408, f"the upload took more than {UPLOAD_SECONDS:g} seconds.") from None


async def _show(house: House, visitor: Visitor, function, *arguments) -> None:
    """Open something that was uploaded, and send its first frame over the WebSocket."""
    frame = await visitor.work(house.workers, function, *arguments)
    visitor.wish = None
    visitor.show(frame)


@asynccontextmanager
async def _transfer(visitor: Visitor) -> AsyncIterator[Visitor]:
    """What a visitor uploads or downloads lies in memory meanwhile, so it is one thing at a time."""
    if visitor.transfer.locked():
        raise HTTPException(409, "something is being uploaded or downloaded here already; wait for it.")
    async with visitor.transfer:
        yield visitor


class _Download(Response):
    """A file that `make` gives, and that the visitor takes piece by piece."""

    def __init__(
        self, visitor: Visitor, make: Callable[[], Awaitable[bytes]], name: str, kind: str = "application/octet-stream"
    ):
        super().__init__(media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
        self._visitor, self._make = visitor, make

    async def __call__(self, scope, receive, send) -> None:
        async with _transfer(self._visitor):
            data = await self._make()
            length = str(len(data)).encode()
            headers = [(name, length if name == b"content-length" else value) for name, value in self.raw_headers]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for at in range(0, len(data), _PIECE):
                await send({"type": "http.response.body", "body": data[at : at + _PIECE], "more_body": True})
            await send({"type": "http.response.body", "body": b""})
