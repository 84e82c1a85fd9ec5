"""What the demo has its workers do: the inputs, the jobs, and how to tell that they were done.

In: nothing. Out: a `Workload` for each pool: its jobs as JSON, and where their results appear.
"""

import json
from dataclasses import dataclass
from typing import Literal

PoolName = Literal["video", "image", "email"]

VIDEOS = 6
PICTURES = 60
MAILS = 60

# FFmpeg makes the inputs out of nothing: a moving test pattern with a tone, and pictures of it.
MAKE_INPUTS = (
    "set -e; cd /data; rm -rf in out; mkdir -p in out; "
    "ffmpeg -loglevel error -y -f lavfi -i testsrc2=size=1280x720:rate=25:duration=12 "
    "-f lavfi -i sine=frequency=440:duration=12 -c:v libx264 -preset ultrafast -c:a aac in/clip.mp4; "
    "ffmpeg -loglevel error -y -f lavfi -i testsrc2=size=1920x1080:rate=4:duration=5 in/picture-%02d.png; "
    "ls in | wc -l"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """The jobs of one pool.

    Attributes:
        pool: name of the WorkerPool, of its queue, and of its folder of results.
        broker_url: variable of the producer pod that holds the broker's URL.
        jobs: one JSON document each.
    """

    pool: PoolName
    broker_url: str
    jobs: tuple[str, ...]


def workloads() -> tuple[Workload, ...]:
    """All jobs of the demo."""
    videos = [
        *(
            {"id": f"video-{n}", "kind": "video.transcode", "input": "in/clip.mp4", "output": f"out/video/{n}.mp4",
             "height": height}
            for n, height in enumerate((720, 480, 360) * (VIDEOS // 3))
        ),
        {"id": "video-thumbnail", "kind": "video.thumbnail", "input": "in/clip.mp4", "output": "out/video/t.jpg",
         "atSeconds": 3, "width": 320},
    ]  # fmt: skip
    pictures = [
        {"id": f"image-{n}", "kind": "image.resize", "input": f"in/picture-{n % 20 + 1:02d}.png",
         "output": f"out/image/{n}.webp", "width": 200 + 10 * n, "height": 800}
        if n % 2
        else {"id": f"image-{n}", "kind": "image.convert", "input": f"in/picture-{n % 20 + 1:02d}.png",
              "output": f"out/image/{n}.jpg", "format": "jpeg"}
        for n in range(PICTURES)
    ]  # fmt: skip
    mails = [
        {"id": f"email-{n}", "kind": "email.send", "from": "demo@example.com", "to": [f"reader-{n}@example.com"],
         "subject": f"Number {n}", "text": "Sent by a worker that exists only while there is mail."}
        for n in range(MAILS)
    ]  # fmt: skip
    return (
        Workload("video", "REDIS_URL", tuple(json.dumps(job) for job in videos)),
        Workload("image", "RABBITMQ_URL", tuple(json.dumps(job) for job in pictures)),
        Workload("email", "REDIS_URL", tuple(json.dumps(job) for job in mails)),
    )
