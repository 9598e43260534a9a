# The server of docs/INTEGRATING.md in Python, with the standard library alone. Put it beside
# meeting.html, and run `python3 server.py`.
import base64, hashlib, hmac, json, os, re, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlparse
from urllib.request import Request, urlopen

SWITCHBOARD = os.environ.get("SWITCHBOARD", "http://localhost:8080")
KEY_ID, SECRET = os.environ["SWITCHBOARD_KEY_ID"], os.environ["SWITCHBOARD_KEY_SECRET"]
MEETING = re.compile(r"/meetings/([\w-]{1,64})(/token)?", re.ASCII)


class Refused(Exception):
    """A refusal of Switchboard, with its code."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def ask(method, path, body=None):
    """Sends a request to the server API, and returns the data of the answer."""
    basic = base64.b64encode(f"{KEY_ID}:{SECRET}".encode()).decode()
    headers = {"authorization": f"Basic {basic}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{SWITCHBOARD}/api/server{path}", data, headers, method=method)
    try:
        with urlopen(request, timeout=15) as response:
            return json.load(response)["data"]
    except HTTPError as error:
        refusal = json.load(error)
        raise Refused(refusal["code"], refusal["message"]) from None


# Your product knows which calls it created.
created = set()


def open_meeting(meeting):
    """Creates the call of a meeting, unless it is there."""
    if meeting in created:
        return
    call = {"title": f"Meeting {meeting}", "roomId": meeting, "maxParticipants": 20}
    try:
        ask("POST", "/calls", call)
    except Refused as refused:
        if refused.code != "ROOM_EXISTS":
            raise
    created.add(meeting)


def user_token(sub, name, room, role="participant"):
    """Signs a token of one of your users, for one room."""
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    now = int(time.time())
    claims = {"iss": KEY_ID, "sub": sub, "name": name, "room": room, "role": role, "iat": now, "exp": now + 3600}
    unsigned = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = hmac.new(SECRET.encode(), unsigned, hashlib.sha256).digest()
    return (unsigned + b"." + encode(signature)).decode()


class Product(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlparse(self.path)
        found = MEETING.fullmatch(url.path)
        # In your product, your own sign-in says who the user is, and your own rules who may come.
        name = parse_qs(url.query).get("name", ["Ann"])[0]
        if not found:
            return self.answer(404, "text/plain", "There is no such page.")
        meeting, wants_token = found.groups()
        if wants_token:
            return self.answer(200, "application/json", json.dumps({"token": user_token(name.lower(), name, meeting)}))
        try:
            open_meeting(meeting)
        except (Refused, OSError) as error:
            self.log_error("%s", error)
            return self.answer(503, "text/plain", "The meeting cannot be opened at the moment.")
        page = Path(__file__).with_name("meeting.html").read_text("utf-8")
        page = page.replace("$SWITCHBOARD", SWITCHBOARD).replace("$ROOM", meeting)
        self.answer(200, "text/html; charset=utf-8", page)

    def answer(self, status, content_type, text):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.end_headers()
        self.wfile.write(text.encode())


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Product).serve_forever()
