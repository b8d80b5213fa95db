"""python deploy/load.py ADDRESS FOLDER TASK [REQUESTS] [CLIENTS]: ask a running `inference serve` for predictions.

Clients send the images of a folder in turn and wait for each response. Prints the responses by status, whether equal
images got equal answers, the responses per second, and the median and the 99th percentile of the seconds per response,
first and last tenth apart.
"""

import http.client
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

BOUNDARY = "frontier"
RETRIES = 100


def body(image: bytes, task: str) -> bytes:
    """Return the multipart body of a request."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="task"\r\n\r\n{task}\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="image"; filename="image"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def main(address: str, folder: str, task: str, requests: str = "10000", clients: str = "16") -> None:
    """Send the requests and print what came back."""
    bodies = [
        body(path.read_bytes(), task) for path in sorted(Path(folder).rglob("*")) if path.suffix in (".png", ".jpg")
    ]
    place, total = urlsplit(address), int(requests)
    numbers = iter(count())
    statuses: Counter[int] = Counter()
    seconds = np.zeros(total)
    answers: list[set[str]] = [set() for _ in bodies]

    def client(_: int) -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        for number in numbers:
            if number >= total:
                return
            which, begun = number % len(bodies), time.perf_counter()
            for _ in range(RETRIES):
                connection.request("POST", "/predict", bodies[which], headers)
                response = connection.getresponse()
                content = response.read()
                statuses[response.status] += 1
                if response.status != 429:
                    break
                time.sleep(float(response.headers["Retry-After"]))
            seconds[number] = time.perf_counter() - begun
            if response.status == 200:
                answers[which].add(json.dumps([r["answer"] for r in json.loads(content)["results"]]))

    begun = time.perf_counter()
    with ThreadPoolExecutor(int(clients)) as threads:
        list(threads.map(client, range(int(clients))))
    spent = time.perf_counter() - begun
    print(f"{total:,} requests for {task} of {len(bodies)} images from {clients} clients in {spent:.1f} s")
    print(
        f"responses by status: {dict(statuses)}; images with more than one answer: {sum(len(a) > 1 for a in answers)}"
    )
    print(f"{total / spent:.1f} per second")
    tenth = max(total // 10, 1)
    for name, part in (("all", seconds), ("first tenth", seconds[:tenth]), ("last tenth", seconds[-tenth:])):
        print(f"{name}: median {1e3 * np.median(part):.0f} ms, 99th percentile {1e3 * np.quantile(part, 0.99):.0f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
