"""Python's logging for the command: lines or JSON on standard error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import msgspec

from warren.client.phrases import clock, stamp

LogLevel = Literal["debug", "info", "warning", "error"]


class LineFormatter(logging.Formatter):
    """`12:00:01 warning warren.store: ...`, and a traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{clock(record.created)} {record.levelname.lower()} {record.name}"
        text = f"{head}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields).decode()


class CallHandler(logging.Handler):
    """Hands every record, as a line, to a function."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(self.format(record))


def set_up_logging(level: LogLevel, *, as_json: bool, handler: logging.Handler) -> None:
    """Send what `warren.*` logs to the handler, from this level on."""
    logging.raiseExceptions = False  # a closed standard error must not stop the program
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    logger = logging.getLogger("warren")
    logger.setLevel(level.upper())
    logger.addHandler(handler)
    logger.propagate = False
