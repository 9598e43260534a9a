"""Peers of the interop suite on python-socketio. See `runtime.mjs` for the commands and events.

The library does not recover sessions by itself. A client only has to remember two strings: the
private session id and the last offset.
"""

import json
import sys
import threading

import socketio

OUTPUT = threading.Lock()


def tell(**fields):
    with OUTPUT:
        print(json.dumps(fields), flush=True)


class Client(socketio.Client):
    """Client that notes what a recovery needs."""

    pid = offset = None
    position = (0, 0)
    recovered = False

    def _handle_connect(self, namespace, data):
        self.recovered = self.pid is not None and self.pid == data["pid"]
        self.pid = data["pid"]
        super()._handle_connect(namespace, data)

    def _handle_event(self, namespace, id, data):
        # The library handles each event in a thread of its own, so they come out of order.
        if isinstance(data[-1], str):
            position = tuple(int(number) for number in data[-1].split(".")[0].split("-"))
            with OUTPUT:
                if position > self.position:
                    self.position, self.offset = position, data[-1]
        super()._handle_event(namespace, id, data)


class Peer:
    """One client. Tells its events under its name."""

    def __init__(self, name):
        self.name = name
        self.client = Client(reconnection_delay=0.1, reconnection_delay_max=0.5)
        self.client.on("connect", self.on_connect)
        self.client.on("connect_error", self.on_connect_error)
        self.client.on("*", self.on_event)

    def connect(self, task):
        def auth():
            recovery = {key: getattr(self.client, key) for key in ("pid", "offset")} if task["recovers"] else {}
            return task["auth"] | {key: value for key, value in recovery.items() if value}

        try:
            self.client.connect(
                task["url"], auth=auth, headers=task["headers"], transports=task["transports"], wait_timeout=30
            )
        except socketio.exceptions.ConnectionError:
            pass  # The event `connect_error` has told it.

    def on_connect(self):
        tell(peer=self.name, event="connect", transport=self.client.transport(), recovered=self.client.recovered)

    def on_connect_error(self, data):
        code = data["data"]["code"] if isinstance(data, dict) and isinstance(data.get("data"), dict) else None
        tell(peer=self.name, event="connect_error", code=code)

    def on_event(self, event, payload=None, *_offset):
        tell(peer=self.name, event="message", name=event, payload=payload)

    def emit(self, task):
        for payload in task["payloads"]:
            self.client.emit(task["name"], payload, callback=lambda answer: tell(task=task["task"], answer=answer))


def main():
    peers = {}
    for line in sys.stdin:
        task = json.loads(line)
        peer = peers.setdefault(task["peer"], Peer(task["peer"]))
        if task["do"] == "connect":
            threading.Thread(target=peer.connect, args=(task,), daemon=True).start()
        elif task["do"] == "emit":
            peer.emit(task)
        elif task["do"] == "transport":
            tell(task=task["task"], answer=peer.client.transport())
        else:
            peer.client.disconnect()
            tell(task=task["task"], answer=None)


main()
