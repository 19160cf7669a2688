"""Upstreams and clients on real sockets: one that is scripted byte by byte, one shaped like Elasticsearch."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import h11

TIMEOUT = 10.0


class Conversation:
    """One connection that upstream accepted."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.buffer = b""

    def until(self, mark: bytes) -> bytes:
        """Read up to and with ``mark``."""
        while mark not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        out, self.buffer = self.buffer[:end], self.buffer[end:]
        return out

    def exactly(self, n: int) -> bytes:
        while len(self.buffer) < n:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def head(self) -> bytes:
        return self.until(b"\r\n\r\n")

    def request(self) -> tuple[bytes, bytes]:
        """A request's head and its body, by its framing."""
        head = self.head()
        lower = head.lower()
        if b"\r\ntransfer-encoding: chunked" in lower:
            return head, self.chunks()
        if b"\r\ncontent-length:" in lower:
            n = int(lower.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
            return head, self.exactly(n)
        return head, b""

    def chunks(self) -> bytes:
        body = b""
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            body += self.exactly(size)
            self.exactly(2)
        self.trailers = b""
        while (line := self.until(b"\r\n")) != b"\r\n":
            self.trailers += line
        return body

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def closed(self) -> bool:
        """Wait until the other side closes; whether it sent nothing before."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Scripted:
    """Accepts connections and runs ``handler(conversation)`` for each, on a thread of its own."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """``address``: an IP address, or the path of a Unix socket."""
        self.handler: Callable[[Conversation], None] = lambda talk: None
        self._listener, self.url = _listening(address, port)
        self.port: int = self._listener.getsockname()[1] if "/" not in address else 0
        self.accepted = 0
        self._open: set[Conversation] = set()
        self._starting = threading.Lock()  # a thread that runs is in the list
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def answers(self, *answers: bytes) -> list[tuple[bytes, bytes]]:
        """Answer each request with the next of ``answers``, the last one for ever; gives the list of requests."""
        seen: list[tuple[bytes, bytes]] = []

        def handler(talk: Conversation) -> None:
            while True:
                seen.append(talk.request())
                talk.send(answers[min(len(seen), len(answers)) - 1])

        self.handler = handler
        return seen

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            talk = Conversation(sock)
            self._open.add(talk)
            thread = threading.Thread(target=self._serve, args=(talk,), daemon=True)
            with self._starting:
                thread.start()
                self._threads.append(thread)

    def _serve(self, talk: Conversation) -> None:
        try:
            self.handler(talk)
        except (EOFError, OSError):
            pass
        finally:
            talk.close()
            self._open.discard(talk)

    def drop(self) -> None:
        """End every conversation."""
        for talk in list(self._open):
            talk.close()
        self.join()

    def join(self) -> None:
        """Wait until every conversation has ended."""
        with self._starting:
            threads = self._threads[1:]
        for thread in threads:
            thread.join(TIMEOUT)

    def settle(self) -> None:
        """Wait until every connection that was made so far has ended (they are accepted in order)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT) as last:
            last.shutdown(socket.SHUT_WR)
            last.recv(1)
        self.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for talk in list(self._open):
            talk.close()
        for thread in self._threads:
            thread.join(TIMEOUT)


def _listening(address: str, port: int) -> tuple[socket.socket, str]:
    if "/" in address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
        return listener, "http+unix://" + address.replace("/", "%2F")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family)
    shown = f"[{address}]" if ":" in address else address
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


class Json:
    """An HTTP/1.1 server whose answer is ``answer(method, path, headers, body)`` → (status, JSON-able or bytes)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[..., tuple[int, Any]] = searched
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer is one write: two would wait for the client's delayed acknowledgement

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                outer.requests.append((self.command, self.path, headers, body))
                status, answer = outer.answer(self.command, self.path, headers, body)
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                kind = headers.get("accept", "application/json")
                self.send_header("Content-Type", kind if "compatible-with" in kind else "application/json")
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(raw)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(TIMEOUT)


def searched(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    """60 documents ranked 0 … 59 for any query, cut by the body's ``from`` and ``size``."""
    if path == "/" or path.startswith("/_nodes"):
        return 200, {"name": "test", "cluster_name": "test", "version": {"number": "9.1.0"}, "tagline": "You Know"}
    if "_search" not in path:
        return 200, {"acknowledged": True}
    query = json.loads(body or b"{}")
    begin, size = query.get("from", 0), query.get("size", 10)
    return 200, {"took": 3, "timed_out": False, "hits": hits_of(range(60)[begin : begin + size], query)}


def hits_of(numbers: range, query: Any) -> dict[str, Any]:
    text = json.dumps(query.get("query"))
    hits = [
        {"_index": "books", "_id": str(n), "_score": 60.0 - n, "_source": {"title": f"document {n}", "asked": text}}
        for n in numbers
    ]
    return {"total": {"value": 60, "relation": "eq"}, "max_score": 60.0, "hits": hits}


class Client:
    """A client on a raw socket, its answers parsed by h11."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.authority = f"{host}:{port}".encode()
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT)
        self._parser = h11.Connection(h11.CLIENT)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def ask(self, method: bytes, target: bytes = b"/", body: bytes | None = None, *fields: bytes) -> Answered:
        """Send a request and read its answer."""
        length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
        lines = b"".join(field + b"\r\n" for field in fields)
        self.send(
            b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n%b" % (method, target, self.authority, lines, length, body or b"")
        )
        return self.read(method)

    def read(self, method: bytes = b"GET") -> Answered:
        """One answer to a request of ``method``, interim ones kept aside."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        if trailing := self._parser.trailing_data[0]:
            parser.receive_data(trailing)
        self._parser = parser
        return Answered.read(self._events())

    def _events(self) -> Iterator[Any]:
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                self._parser.receive_data(self.socket.recv(65536))
                continue
            yield event
            if isinstance(event, h11.EndOfMessage):
                return

    def rest(self) -> bytes:
        """Everything until the proxy closes."""
        out = self._parser.trailing_data[0]
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(65536):
                out += data
        return out

    def reset(self) -> None:
        Conversation(self.socket).reset()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Answered:
    """An answer as a client saw it. Truncated ones raise ``h11.RemoteProtocolError`` while being read."""

    def __init__(self) -> None:
        self.status = 0
        self.reason = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.interim: list[int] = []

    @classmethod
    def read(cls, events: Iterator[Any]) -> Answered:
        out = cls()
        for event in events:
            if isinstance(event, h11.InformationalResponse):
                out.interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                out.status, out.reason = event.status_code, bytes(event.reason)
                out.fields = list(event.headers.raw_items())
            elif isinstance(event, h11.Data):
                out.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                out.trailers = list(event.headers)
        return out

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)
