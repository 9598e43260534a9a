# Token endpoint for Python: GET /token?user=ann&room=standup. Your own sign-in says who it is.
import base64, hashlib, hmac, json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

KEY_ID, SECRET = os.environ["SWITCHBOARD_KEY_ID"], os.environ["SWITCHBOARD_KEY_SECRET"].encode()

def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")

def user_token(user, room, role="participant"):
    claims = {"iss": KEY_ID, "sub": user, "name": user, "room": room, "role": role, "iat": int(time.time()), "exp": int(time.time()) + 3600}
    unsigned = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (unsigned + b"." + encode(hmac.new(SECRET, unsigned, hashlib.sha256).digest())).decode()

class Endpoint(BaseHTTPRequestHandler):
    def do_GET(self):
        query = parse_qs(urlparse(self.path).query)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"token": user_token(query["user"][0], query["room"][0])}).encode())

ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8090"))), Endpoint).serve_forever()
