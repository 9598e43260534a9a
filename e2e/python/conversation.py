"""Two python-socketio clients in one room: connect, relay, lose the connection, reconnect, relay.

The argument is a JSON object:

- `url`, `roomId`
- `transports`: list of transports, or null for the library's default
- `settles`: the transport that a connection ends up on
- `recovers`: whether the clients recover their sessions, or join again
- `guests`: two admissions with `token` and `joinToken`

Prints `cut me` when the test may cut the connections. Exits with 0 when every check passed.
"""

import json
import queue
import sys

import socketio

BOUND_S = 30


class RecoveringClient(socketio.Client):
    """Client that recovers its session. The library does not support recovery by itself; a client
    only has to remember two strings: the private session id and the last offset."""

    pid = offset = None
    recovered = False

    def _handle_connect(self, namespace, data):
        self.recovered = self.pid is not None and self.pid == data["pid"]
        self.pid = data["pid"]
        super()._handle_connect(namespace, data)

    def _handle_event(self, namespace, id, data):
        if isinstance(data[-1], str):
            self.offset = data[-1]
        super()._handle_event(namespace, id, data)


class Guest:
    """One client and the events that it received."""

    def __init__(self, task, admission):
        self.task = task
        self.admission = admission
        self.peer_id = None
        self.connects = queue.Queue()
        self.received = queue.Queue()
        self.joined = queue.Queue()
        kind = RecoveringClient if task["recovers"] else socketio.Client
        self.client = kind(reconnection_delay=0.1, reconnection_delay_max=0.5)
        self.client.on("connect", lambda: self.connects.put(True))
        # Every event of a recoverable session ends in its offset, which this library passes as an
        # argument.
        self.client.on("webrtc:data-channel", lambda payload, *_offset: self.received.put(payload))
        self.client.on("room:joined", lambda payload, *_offset: self.joined.put(payload))

    def auth(self):
        """Returns the credentials for each new connection."""
        token = {"token": self.admission["token"]}
        recovery = {key: getattr(self.client, key, None) for key in ("pid", "offset")}
        return token | {key: value for key, value in recovery.items() if value}

    def connect(self):
        self.client.connect(self.task["url"], auth=self.auth, transports=self.task["transports"], wait_timeout=BOUND_S)

    def connected(self):
        """Waits for the next connection. Joins the room unless the session was recovered."""
        self.connects.get(timeout=BOUND_S)
        expect(self.client.transport(), self.task["settles"])
        if self.peer_id is not None and self.task["recovers"]:
            expect(self.client.recovered, True)
            return
        answer = self.call("room:join", {"roomId": self.task["roomId"], "token": self.admission["joinToken"]})
        expect(answer["success"], True)
        self.peer_id = self.joined.get(timeout=BOUND_S)["peerId"]

    def call(self, event, payload):
        return self.client.call(event, payload, timeout=BOUND_S)


def expect(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


def relay(sender, receiver, numbers):
    for number in numbers:
        payload = {"to": receiver.peer_id, "message": number, "type": "count"}
        expect(sender.call("webrtc:data-channel", payload)["success"], True)
    for number in numbers:
        payload = receiver.received.get(timeout=BOUND_S)
        expect((payload["from"], payload["message"]), (sender.peer_id, number))


def main():
    task = json.loads(sys.argv[1])
    one, two = guests = [Guest(task, admission) for admission in task["guests"]]
    for guest in guests:
        guest.connect()
        guest.connected()
    seats = [guest.peer_id for guest in guests]
    relay(one, two, range(5))
    relay(two, one, range(5))
    print("cut me", flush=True)
    for guest in guests:
        guest.connected()
    relay(one, two, range(5, 10))
    relay(two, one, range(5, 10))
    print(json.dumps({"before": seats, "after": [guest.peer_id for guest in guests]}), flush=True)
    for guest in guests:
        guest.client.disconnect()


main()
