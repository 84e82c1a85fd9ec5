"""Log lines as text or JSON, to standard error.

Comes in: level and format. Goes out: a configured root logger. Libraries that may log connection details or that
report as errors what we tell in conditions are kept quiet.
"""

import json
import logging
import sys
import time


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object a line."""
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logs(level: str, format_: str) -> None:
    """Log to standard error from now on."""
    logging.Formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    handler.setFormatter(_JsonFormatter() if format_ == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, quiet in (("pika", logging.CRITICAL), ("kopf", logging.WARNING), ("aiohttp", logging.WARNING)):
        logging.getLogger(name).setLevel(quiet)
