"""Schemathesis hooks that fill in credentials and existing calls.

Requests generated from the document alone name calls that do not exist. These hooks sign most
requests in, and point most requests about a call to a call of that account. The others stay as
they were generated.
"""

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


TOKEN = new_token()
CALL = new_call()


@schemathesis.hook
def before_call(context, case, kwargs):
    global CALL
    number, path, method = next(REQUEST_NUMBERS), case.operation.path, case.operation.method.upper()
    if number % 8 == 0:
        return
    if "/admin/" in path and OPERATOR_KEY:
        case.headers["X-Api-Key"] = OPERATOR_KEY
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
