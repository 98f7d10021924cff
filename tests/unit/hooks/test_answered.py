"""What becomes of an exception: after a complete answer it is the log's, before that it is the server's."""

from __future__ import annotations

import logging

import anyio
import pytest
from mlops_mlflow_hooks.answered import Answered
from mlops_mlflow_hooks.readiness import Message, Receive, Scope, Send

START: Message = {"type": "http.response.start", "status": 500, "headers": []}
PART: Message = {"type": "http.response.body", "body": b"Internal", "more_body": True}
END: Message = {"type": "http.response.body", "body": b"Server Error"}


def sent_before_the_error(*messages: Message) -> list[Message]:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        for message in messages:
            await send(message)
        raise OSError(28, "No space left on device")

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await Answered(application)({"type": "http", "method": "PUT", "path": "/file"}, receive, send)

    anyio.run(run)
    return sent


def test_an_error_that_was_answered_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert sent_before_the_error(START, PART, END) == [START, PART, END]
    (told,) = caplog.records
    assert told.getMessage() == "PUT /file ended with an error that was answered:"
    assert told.exc_info is not None
    assert "No space left on device" in str(told.exc_info[1])


@pytest.mark.parametrize("messages", [(), (START,), (START, PART)], ids=["nothing", "headers", "a part"])
def test_an_error_before_the_end_of_the_answer_stays_an_error(messages: tuple[Message, ...]) -> None:
    """Only by hanging up does a server say that what it sent is not all."""
    with pytest.raises(OSError, match="No space left"):
        sent_before_the_error(*messages)
