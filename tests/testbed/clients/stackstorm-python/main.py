"""Drives the official StackStorm client against a server, as a user of it would.

Reads TWIN_URL, TWIN_USERNAME, TWIN_PASSWORD and TWIN_API_KEY (an administrator's), and
TWIN_CONTROL_URL (the twin's control door, which makes the server look at rights and throttle).
Drives the library first, then the program `st2`. Prints one line for each thing that works; at
the first that does not, says what was expected and exits with 1. Prints no key and no token.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback
import urllib.request

import requests
from st2client.client import Client
from st2client.models import ApiKey, Token

URL = os.environ["TWIN_URL"]
USERNAME = os.environ["TWIN_USERNAME"]
PASSWORD = os.environ["TWIN_PASSWORD"]
ADMIN_KEY = os.environ["TWIN_API_KEY"]
CONTROL = os.environ["TWIN_CONTROL_URL"]
PLACES = {"api_url": URL + "/api/v1", "auth_url": URL + "/auth"}
PROGRAM = pathlib.Path(sys.executable).parent / "st2"


def control(method, path, body=None):
    """Asks the twin's control door for something."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(CONTROL + path, data=data, method=method)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204, answer.status


def change(**what):
    control("POST", "/changes", what)


def refused(call, status, *words):
    """Runs a call that has to fail with this status and these words."""
    try:
        call()
    except requests.exceptions.HTTPError as error:
        assert error.response.status_code == status, (error.response.status_code, str(error))
        for word in words:
            assert word in str(error), (word, str(error))
        return error.response
    raise AssertionError(f"expected status {status}, but it worked")


STEPS = []


def step(method):
    """Marks a method that is a step; they run in the order in which they stand here."""
    STEPS.append(method.__name__)
    return method


def stored(key):
    """What the server keeps of a key."""
    return hashlib.sha512(("saltnpepper" + key).encode()).hexdigest()


class Library:
    """The library, with a token and with keys."""

    def __init__(self):
        # The constructor writes credentials into the environment, so that they are given to each
        # call here instead.
        self.client = Client(**PLACES)
        self.token = None
        self.made = None

    def sign_in(self, password=PASSWORD, **wish):
        return self.client.tokens.create(Token(**wish), auth=(USERNAME, password))

    def keys(self, **more):
        return self.client.managers["ApiKey"].get_all(token=self.token, **more)

    def create(self, **wish):
        return self.client.managers["ApiKey"].create(ApiKey(**wish), token=self.token)

    def get(self, key_or_id, **more):
        return self.client.managers["ApiKey"].get_by_id(key_or_id, token=self.token, **more)

    def update(self, key):
        return self.client.managers["ApiKey"].update(key, token=self.token)

    def who(self, key):
        return self.client.get_user_info(api_key=key)["username"]

    @step
    def a_token_for_a_password(self):
        made = self.sign_in()
        assert made.user == USERNAME and len(made.token) == 32 and made.expiry.endswith("Z")
        assert made.service is False and made.metadata == {}
        self.token = made.token

    @step
    def a_token_lasts_as_long_as_one_wants_and_may(self):
        assert self.sign_in(ttl=60).expiry < self.sign_in(ttl=3600).expiry
        refused(lambda: self.sign_in(ttl=86401), 400, "TTL specified 86401 is greater than max")
        refused(lambda: self.sign_in(ttl=0), 400, "0 is less than the minimum of 1")

    @step
    def a_wrong_password_is_refused(self):
        refused(lambda: self.sign_in(password="wrong"), 401, "Invalid or missing credentials")

    @step
    def who_am_i(self):
        me = self.client.get_user_info(token=self.token)
        assert me["username"] == USERNAME and me["rbac"]["is_admin"] is True
        method = me["authentication"]
        assert method["method"] == "authentication token" and method["location"] == "header"
        assert method["token_expire"].endswith("Z")
        me = self.client.get_user_info(api_key=ADMIN_KEY)
        assert me["authentication"] == {"method": "API key", "location": "header"}

    @step
    def nobody_is_nobody(self):
        refused(lambda: self.client.get_user_info(token="0" * 32), 401)
        unknown = f"ApiKey with key_hash={stored('unknown')} not found."
        refused(lambda: self.client.get_user_info(api_key="unknown"), 401, unknown)

    @step
    def make_a_key_and_use_it(self):
        made = self.create(user="py-user", metadata={"a.b": {"c": 1}})
        assert len(made.key) == 86 and made.enabled is True and made.metadata == {"a.b": {"c": 1}}
        assert made.uid == "api_key:" + stored(made.key) and not hasattr(made, "key_hash")
        assert self.who(made.key) == "py-user"
        self.made = made

    @step
    def read_it_by_id_and_by_itself(self):
        for place in (self.made.id, self.made.key):
            found = self.get(place)
            assert found.id == self.made.id and found.user == "py-user"
            assert found.key_hash == found.uid == "********"
        assert self.get("no-such-key") is None

    @step
    def list_keys(self):
        hidden = self.keys(user="nobody-has-this-name")
        assert self.made.id in [key.id for key in hidden], "the filter is not looked at"
        shown = self.keys(params={"show_secrets": True}, limit=-1)
        assert stored(self.made.key) in [key.key_hash for key in shown]
        assert len(self.keys(limit=1, offset=1)) == 1
        refused(lambda: self.keys(limit=-2), 400, "must be a positive number")
        refused(lambda: self.keys(offset=-1), 500, "Internal Server Error")

    @step
    def switch_it_off_and_on(self):
        before = self.get(self.made.id)
        off = self.get(self.made.id)
        off.enabled = False
        off = self.update(off)
        assert off.enabled is False and off.uid == "api_key:********"
        assert off.key_hash == stored(self.made.key) and off.metadata == {"a.b": {"c": 1}}
        assert off.created_at > before.created_at, "it is made young again"
        refused(lambda: self.who(self.made.key), 401, "API key is disabled.")
        off = self.get(self.made.id)
        off.enabled = True
        self.update(off)
        assert self.who(self.made.key) == "py-user"

    @step
    def give_it_to_another(self):
        moved = self.get(self.made.id)
        moved.user = "py-other"
        assert self.update(moved).user == self.who(self.made.key) == "py-other"

    @step
    def its_hash_stays(self):
        other = self.get(self.made.id)
        other.key_hash = stored("other")
        refused(lambda: self.update(other), 400, "Update of key_hash is not allowed.")

    @step
    def bring_a_key(self):
        made = self.create(user="py-user", key_hash=stored("brought"))
        assert made.key is None and self.who("brought") == "py-user"
        again = lambda: self.create(user="py-user", key_hash=stored("brought"))
        answer = refused(again, 409, "duplicate unique keys")
        assert answer.json()["conflict-id"] is None
        assert self.client.managers["ApiKey"].delete(made, token=self.token)

    @step
    def what_is_no_key_is_refused(self):
        refused(lambda: self.create(expires=1), 400, "'expires' was unexpected")
        refused(lambda: self.create(user=5), 400, "5 is not of type 'string'")
        refused(lambda: self.create(metadata={"$a": 1}), 400, "metadata")

    @step
    def delete_it(self):
        manager = self.client.managers["ApiKey"]
        assert manager.delete(self.made, token=self.token)
        assert manager.delete(self.made, token=self.token), "a 404 counts as done"
        assert self.get(self.made.id) is None
        refused(lambda: self.who(self.made.key), 401, "not found")

    @step
    def rights_are_looked_at_when_they_are_switched_on(self):
        weak = self.create(user="py-weak").key
        change(change="beginRbac")
        rbac = self.client.get_user_info(token=self.token)["rbac"]
        assert rbac == {"enabled": True, "roles": ["system_admin"], "is_admin": True}
        names = [role.name for role in self.client.managers["Role"].get_all(token=self.token)]
        assert names == ["admin", "observer", "system_admin"]
        listed = lambda: self.client.managers["ApiKey"].get_all(api_key=weak)
        refused(listed, 403, 'User "py-weak" doesn\'t have required permission "api_key_list"')
        change(change="giveRole", user="py-weak", role="observer")
        assert len(listed()) > 0
        change(change="endRbac")

    @step
    def a_proxy_that_throttles(self):
        control("POST", "/faults", {"fault": "throttled", "times": {"next": 1}})
        refused(self.keys, 429, "Too Many Requests")


class Program:
    """The program `st2`, with all that it is told in its environment."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.environment = {
            "HOME": home,
            "PATH": os.environ.get("PATH", ""),
            "ST2_API_URL": PLACES["api_url"],
            "ST2_AUTH_URL": PLACES["auth_url"],
            "ST2_API_KEY": ADMIN_KEY,
            "NO_PROXY": "127.0.0.1",
        }
        self.made = None
        self.key = None

    def run(self, *words, expect=0, **environment):
        """Runs it and gives what it printed."""
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *words],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = done.stdout.decode()
        assert done.returncode == expect, (words[:2], done.returncode, said)
        return said

    def read(self, *words):
        return json.loads(self.run(*words, "-j"))

    def who(self, key):
        return self.run("whoami", ST2_API_KEY=key)

    @step
    def auth_and_whoami(self):
        token = self.run("auth", USERNAME, "-p", PASSWORD, "-t").strip()
        assert len(token) == 32
        said = self.run("whoami", ST2_AUTH_TOKEN=token, ST2_API_KEY="")
        assert f'Currently logged in as "{USERNAME}".' in said
        assert "Authentication method: authentication token" in said
        said = self.run("auth", USERNAME, "-p", "wrong", expect=1)
        assert "401 Client Error" in said and "Invalid or missing credentials" in said

    @step
    def whoami_with_a_key(self):
        said = self.who(ADMIN_KEY)
        assert "Authentication method: API key" in said and " - Enabled: False" in said

    @step
    def apikey_create(self):
        self.key = self.run("apikey", "create", "-k", "-u", "cli-user", "-m", '{"a": "b"}').strip()
        assert len(self.key) == 86 and 'as "cli-user"' in self.who(self.key)
        made = self.read("apikey", "create")
        assert made["user"] == USERNAME and len(made["key"]) == 86

    @step
    def apikey_list(self):
        keys = self.read("apikey", "list", "-d", "--show-secrets")
        (self.made,) = [key for key in keys if key["key_hash"] == stored(self.key)]
        assert self.made["user"] == "cli-user" and self.made["metadata"] == {"a": "b"}
        keys = self.read("apikey", "list", "-d", "-u", "cli-user")
        assert {key["key_hash"] for key in keys} == {"********"}
        assert len({key["user"] for key in keys}) > 1, "the filter is not looked at"

    @step
    def apikey_get(self):
        for place in (self.made["id"], self.key):
            assert self.read("apikey", "get", place)["id"] == self.made["id"]
        said = self.run("apikey", "get", "no-such-key", expect=1)
        assert 'API Key "no-such-key" is not found.' in said, said

    @step
    def apikey_disable_and_enable(self):
        self.run("apikey", "disable", self.made["id"])
        assert self.read("apikey", "get", self.made["id"])["enabled"] is False
        assert 'as "' not in self.who(self.key)
        self.run("apikey", "enable", self.made["id"])
        assert 'as "cli-user"' in self.who(self.key)

    @step
    def apikey_load(self):
        loaded = {
            "id": "0123456789abcdef01234567",
            "user": "cli-loaded",
            "key_hash": stored("loaded"),
            "metadata": {"loaded": True},
            "enabled": True,
        }
        file = self.home / "keys.json"
        file.write_text(json.dumps([loaded]))
        for _ in ("a job that runs", "the same job again"):
            (key,) = self.read("apikey", "load", str(file))
            assert key["id"] == loaded["id"] and key["user"] == "cli-loaded"
        assert 'as "cli-loaded"' in self.who("loaded")

    @step
    def apikey_delete(self):
        self.run("apikey", "delete", self.made["id"])
        assert 'as "' not in self.who(self.key)
        # It looks for the key first, and stumbles over nothing.
        self.run("apikey", "delete", self.made["id"], expect=1)

    @step
    def role_list(self):
        names = [role["name"] for role in self.read("role", "list")]
        assert names == ["admin", "observer", "system_admin"], names


def main():
    with tempfile.TemporaryDirectory() as home:
        # Both would read a configuration of the user's own there.
        os.environ["HOME"] = home
        worlds = [Library(), Program(home)]
        for name in STEPS:
            (world,) = [world for world in worlds if hasattr(world, name)]
            try:
                getattr(world, name)()
            except Exception:
                print(f"FAILED  {name}", file=sys.stderr)
                traceback.print_exc()
                return 1
            print("ok ", type(world).__name__.lower(), name.replace("_", " "), flush=True)
    return 0


sys.exit(main())
