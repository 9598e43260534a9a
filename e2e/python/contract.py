"""Hooks of schemathesis: who asks, and about what.

What is generated from the document alone is about calls that do not exist. Here most requests come from somebody signed in, and most of
those about a call are about one of theirs; the rest stay as they were generated.
"""

import itertools
import os
import uuid

import requests
import schemathesis

API = os.environ["CONTRACT_API"]
# Of the operators' routes, when the cluster has such a key.
OPERATOR_KEY = os.environ.get("OPERATOR_KEY")
TURNS = itertools.count()


def post(path, body, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = requests.post(f"{API}{path}", json=body, headers=headers, timeout=60)
    response.raise_for_status()
    return response.json()["data"]


def account():
    # The password of the document's examples: so those change it.
    person = {"name": "Contract", "email": f"{uuid.uuid4()}@example.org", "password": "correct horse battery"}
    return post("/auth/register", person)["token"]


def call():
    return post("/video-calls", {"title": "Contract"}, TOKEN)


TOKEN = account()
CALL = call()


@schemathesis.hook
def before_call(context, case, kwargs):
    global CALL
    turn, path, method = next(TURNS), case.operation.path, case.operation.method.upper()
    if turn % 8 == 0:
        return
    if "/admin/" in path and OPERATOR_KEY:
        case.headers["X-Api-Key"] = OPERATOR_KEY
    # What ends sign-ins must not end the one that the others ask with.
    ends = path.endswith(("/logout", "/change-password")) or "/sessions" in path
    token = account() if ends else TOKEN
    case.headers["Authorization"] = f"Bearer {token}"
    if "/video-calls/" not in path or turn % 4 == 0:
        return
    if "roomId" in (case.path_parameters or {}):
        case.path_parameters["roomId"] = CALL["roomId"]
    elif "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = CALL["id"]
        if method == "DELETE" or path.endswith("/end"):
            CALL = call()
    elif isinstance(case.body, dict) and isinstance(case.body.get("roomId"), str):
        case.body["roomId"] = CALL["roomId"]
