"""Structured logs: one JSON object a line on stderr.

In: log records, with fields in ``extra``. Out: lines with ``time``, ``level``, ``message`` and those fields,
redacted.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from workerpool_worker.redaction import Redactor

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON without secrets."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redact = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: self._clean(value) for name, value in fields.items()}, ensure_ascii=False)

    def _clean(self, value: object) -> object:
        return value if isinstance(value, int | float | None) else self._redact(str(value))


def configure(level: str, redactor: Redactor) -> None:
    """Send all logs of the process to stderr as JSON; libraries only from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(redactor))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("workerpool_worker").setLevel(level)
    # pika reports each lost connection several times, with tracebacks; the queue's own line says it once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
