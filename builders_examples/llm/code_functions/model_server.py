"""A small stand-in for a service that offers models: it speaks OpenAI's and Anthropic's interfaces, on 127.0.0.1.

It answers about the texts that it is sent without any model, counts requests, and fails when it is asked to. As a
script it serves until it is ended: ``python model_server.py 8080``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

GLAD = {"glad", "good", "love", "saved", "thanks"}
SAD = {"bad", "fell", "lost", "sad", "sorry"}

Answer = dict[str, Any]


def say(text: str) -> Answer:
    """Return what this "model" has to say about a text."""
    words = [word.strip(".,!?").lower() for word in str(text).split()]
    mood = "glad" if GLAD & {*words} else "sad" if SAD & {*words} else "calm"
    longest = max(words, key=len, default="")
    return {"mood": mood, "words": len(words), "longest": longest, "letters": sum(map(len, words))}


class ModelServer:
    """The service, in threads of this interpreter. Used in a ``with``, or until the interpreter ends after ``start``.

    ``requests`` counts them, ``asked`` counts for each ``input_id`` how often it was asked about. ``script`` are
    troubles that the next requests meet, each used once: a status such as 500, ``(429, seconds)`` for one with
    Retry-After, or a function that spoils the list of results. ``trouble`` is such a one for every request, by its
    inputs. ``delay`` is how long each request takes; those after the first ``holds_after`` take until ``released`` is
    set.
    """

    def __init__(self, *, delay: float = 0.0, port: int = 0) -> None:
        self.requests = 0
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.script: list[object] = []
        self.trouble: Callable[[list[dict[str, Any]]], object] = lambda inputs: None
        self.say: Callable[[str], Answer] = say
        self.delay = delay
        self.holds_after: int | None = None
        self.released = threading.Event()
        self._turn = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.model = self

    @property
    def url(self) -> str:
        """The address, without the ``/v1`` that OpenAI's client wants in it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def start(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        self._server.serve_forever()

    def note(self, body: dict[str, Any], inputs: list[dict[str, Any]]) -> object:
        """Count a request, and return the trouble that it meets."""
        with self._turn:
            self.requests += 1
            self.bodies.append(body)
            self.times.append(time.monotonic())
            self.asked.update(str(each["input_id"]) for each in inputs)
            trouble = self.script.pop(0) if self.script else self.trouble(inputs)
            number = self.requests
        time.sleep(self.delay)
        if self.holds_after is not None and number > self.holds_after:
            self.released.wait()
        return trouble


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    model: ModelServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) < length:
            return  # the client was killed
        body = json.loads(content)
        inputs = json.loads(body["messages"][-1]["content"])
        model = self.server.model
        trouble = model.note(body, inputs)
        if isinstance(trouble, int | tuple):
            status, seconds = trouble if isinstance(trouble, tuple) else (trouble, None)
            self._send(status, {"error": {"message": "no luck", "type": "trouble"}}, seconds)
            return
        results = [{"input_id": each["input_id"], **model.say(each["text"])} for each in inputs]
        answer: object = trouble if isinstance(trouble, str) else {"all_results": results}
        if callable(trouble):
            answer = {"all_results": trouble(results)}
        self._send(200, _answer(self.path, body, answer, len(inputs)))

    def _send(self, status: int, content: object, retry_after: float | None = None) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(text)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client was killed
            super().handle()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


def _answer(path: str, body: dict[str, Any], content: object, count: int) -> dict[str, Any]:
    """Return an answer in the form of the interface that was spoken. Inputs take ten tokens, results five."""
    text = content if isinstance(content, str) else json.dumps(content)
    if path.endswith("/messages"):
        name = (body.get("tool_choice") or {}).get("name", "")
        block = {"type": "tool_use", "id": "t1", "name": name, "input": content}
        return {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text} if isinstance(content, str) else block],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 10 * count, "output_tokens": 5 * count},
        }
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10 * count, "completion_tokens": 5 * count, "total_tokens": 15 * count},
    }


def services() -> Iterator[tuple[str, str]]:
    """Yield the addresses, for OpenAI's and for Anthropic's client, of a service that is started here.

    It serves until the interpreter ends.
    """
    server = ModelServer().start()
    yield server.base_url, server.url


if __name__ == "__main__":
    ModelServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8080).serve()
