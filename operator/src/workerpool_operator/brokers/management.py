"""RabbitMQ's management API: unacknowledged messages of all queues of a virtual host.

Comes in: an endpoint. Goes out: a count for each queue, or why there is none. `disable_stats` with
`enable_queue_totals` is live and cheap (docs of rabbitmq_management); the default listing is 5 s stale. Quorum queues
count what is unacknowledged every 5 s only, whoever asks (measured with 3.10.8).
"""

import asyncio
import base64
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
from yarl import URL

from workerpool_operator.api import Unreadable
from workerpool_operator.brokers.endpoint import RabbitMQEndpoint


class ManagementApi:
    """One HTTP connection to the management API of one virtual host."""

    def __init__(self, base: str, user: tuple[str, str], vhost: str) -> None:
        self._base = base
        path = f"{base}/api/queues/{quote(vhost, safe='')}"
        # encoded: the default vhost is %2F, which must not become a slash again.
        self._url = URL(f"{path}?disable_stats=true&enable_queue_totals=true", encoded=True)
        login = base64.b64encode(":".join(user).encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, endpoint: RabbitMQEndpoint) -> "ManagementApi | None":
        """The API of an endpoint; None where it names none."""
        if endpoint.management_url is None or endpoint.management_user is None:
            return None
        return cls(endpoint.management_url, endpoint.management_user, endpoint.vhost)

    async def unacknowledged(self, seconds: float) -> dict[str, int] | Unreadable:
        """Unacknowledged messages by queue. A queue without the figure is left out: that is not a zero.

        Args:
            seconds: how long the call may take.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, connector=aiohttp.TCPConnector(limit=1))
        try:
            async with self._session.get(self._url, timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
                if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    return Unreadable(
                        "ManagementDenied",
                        f"the management API at {self._base} refused the user (HTTP {answer.status}); "
                        "give it the management tag, or correct the URL",
                    )
                if answer.status != HTTPStatus.OK:
                    return Unreadable(
                        "ManagementFailed",
                        f"the management API at {self._base} answered HTTP {answer.status}",
                    )
                listing: object = await answer.json(content_type=None)
        except TimeoutError:
            return Unreadable("ManagementTimeout", f"the management API at {self._base} did not answer in time")
        except (aiohttp.ClientError, OSError, ValueError):
            return Unreadable("ManagementUnreachable", f"the management API at {self._base} cannot be read")
        if not isinstance(listing, list):
            return Unreadable("ManagementFailed", f"at {self._base} is no management API; correct managementUrl")
        return {
            queue["name"]: queue["messages_unacknowledged"]
            for queue in listing
            if isinstance(queue, dict) and "name" in queue and isinstance(queue.get("messages_unacknowledged"), int)
        }

    async def close(self) -> None:
        """Let go of the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            # aiohttp closes transports in the next turn of the loop.
            await asyncio.sleep(0)
