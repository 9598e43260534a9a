"""Schemathesis hooks that fill in credentials, existing calls and an existing app.

Requests generated from the document alone name calls that do not exist. These hooks sign most
requests in, and point most requests about a call to a call of that account. The others stay as
they were generated, except for operators' requests about an app: Schemathesis reuses ids from
earlier responses, so such a request could delete the app that the other requests need, or one of
another test. It names an app that exists only for these requests, or one that does not exist.
"""

import base64
import itertools
import os
import re
import uuid

import requests
import schemathesis

API = os.environ["CONTRACT_API"]
# Key for the operators' routes. Not set when the cluster has no such key.
OPERATOR_KEY = os.environ.get("OPERATOR_KEY")
REQUEST_NUMBERS = itertools.count()
# Ids as the document describes them.
CALL_ID, ROOM_ID = re.compile("[0-9a-fA-F]{24}"), re.compile("[A-Za-z0-9_-]{1,64}")
APP_ID, UNKNOWN_APP_ID = re.compile("[a-z0-9]{1,24}"), "0" * 12


def post(path, body, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = requests.post(f"{API}{path}", json=body, headers=headers, timeout=60)
    response.raise_for_status()
    return response.json()["data"]


def new_token():
    """Registers an account and returns its access token."""
    # The password of the document's examples, so that the example of a password change succeeds.
    user = {"name": "Contract", "email": f"{uuid.uuid4()}@example.org", "password": "correct horse battery"}
    return post("/auth/register", user)["token"]


def new_call():
    return post("/video-calls", {"title": "Contract"}, TOKEN)


def post_as_operator(path, body):
    headers = {"X-Api-Key": OPERATOR_KEY}
    response = requests.post(f"{API}{path}", json=body, headers=headers, timeout=60)
    response.raise_for_status()
    return response.json()["data"]


def new_app():
    return post_as_operator("/admin/apps", {"name": "Contract"})


def new_backend():
    """Creates an app with an API key. Returns the credentials of its backend."""
    key = post_as_operator(f"/admin/apps/{new_app()['id']}/keys", {})
    pair = f"{key['keyId']}:{key['secret']}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def new_server_call():
    """Creates a call of the app. Its room is open, because its id was chosen."""
    body = {"title": "Contract", "roomId": uuid.uuid4().hex}
    headers = {"Authorization": BACKEND}
    response = requests.post(f"{API}/server/calls", json=body, headers=headers, timeout=60)
    response.raise_for_status()
    return response.json()["data"]


TOKEN = new_token()
CALL = new_call()
BACKEND = new_backend() if OPERATOR_KEY else None
SERVER_CALL = new_server_call() if BACKEND else None
# App that operators' requests change and delete.
CHANGED_APP = new_app() if OPERATOR_KEY else None


def before_operator_call(case, number, path, method):
    """Authenticates a request of an operator, and lets it change no app but `CHANGED_APP`."""
    global CHANGED_APP
    case.headers["X-Api-Key"] = OPERATOR_KEY
    parameters = case.path_parameters or {}
    # An invalid id stays, because it may be all that makes the request invalid.
    if not APP_ID.fullmatch(str(parameters.get("appId", ""))):
        return
    if number % 4 == 0:
        case.path_parameters["appId"] = UNKNOWN_APP_ID
        return
    case.path_parameters["appId"] = CHANGED_APP["id"]
    if method == "DELETE" and path.endswith("/{appId}"):
        CHANGED_APP = new_app()


def before_server_call(case, number, path, method):
    """Authenticates a request of a backend, and points most of them to a call of its app."""
    global SERVER_CALL
    case.headers["Authorization"] = BACKEND
    parameters = case.path_parameters or {}
    if number % 4 == 0:
        return
    if ROOM_ID.fullmatch(str(parameters.get("roomId", ""))):
        case.path_parameters["roomId"] = SERVER_CALL["roomId"]
    elif CALL_ID.fullmatch(str(parameters.get("id", ""))):
        case.path_parameters["id"] = SERVER_CALL["id"]
        if method == "DELETE" or path.endswith("/end"):
            SERVER_CALL = new_server_call()


@schemathesis.hook
def before_call(context, case, kwargs):
    global CALL
    number, path, method = next(REQUEST_NUMBERS), case.operation.path, case.operation.method.upper()
    if number % 8 == 0:
        return
    if "/server/" in path and BACKEND:
        return before_server_call(case, number, path, method)
    if "/admin/" in path and OPERATOR_KEY:
        return before_operator_call(case, number, path, method)
    # A request that ends sign-ins uses its own account, so that it does not end the shared sign-in.
    ends_sign_in = path.endswith(("/logout", "/change-password")) or "/sessions" in path
    token = new_token() if ends_sign_in else TOKEN
    case.headers["Authorization"] = f"Bearer {token}"
    if "/video-calls/" not in path or number % 4 == 0:
        return
    parameters = case.path_parameters or {}
    # An invalid id stays, because it may be all that makes the request invalid.
    if ROOM_ID.fullmatch(str(parameters.get("roomId", ""))):
        case.path_parameters["roomId"] = CALL["roomId"]
    elif CALL_ID.fullmatch(str(parameters.get("id", ""))):
        case.path_parameters["id"] = CALL["id"]
        if method == "DELETE" or path.endswith("/end"):
            CALL = new_call()
    elif isinstance(case.body, dict) and isinstance(case.body.get("roomId"), str):
        case.body["roomId"] = CALL["roomId"]
