"""Each rate limit of a user refuses with the time to wait, over REST and sockets, and allows requests again after it."""

import time

from client import message_frame
from conftest import thorough
from websockets.exceptions import InvalidStatus

MOST = 60  # a minute: one a second comes back
KINDS = ("SENDS", "ROOMS", "INVITATIONS", "SEARCHES", "CONNECTIONS")


@thorough
def test_each_limit_says_when_to_come_again_and_means_it(reconfigure, make_user):
    """One test, because each change of settings is a reload."""
    reconfigure("fcgi-api", "ws-relay", **{f"RATE_{kind}": MOST for kind in KINDS})
    over_rest(make_user(), make_user())
    over_a_socket(make_user())
    connections(make_user())


def over_rest(ann, bob):
    room = ann.group(bob)
    for name, deed in {
        "messages": lambda: ann.rest("POST", f"/rooms/{room}/messages", {"Content": "again"}),
        "new rooms": lambda: ann.rest("POST", "/rooms", {"Type": "GROUP", "Name": "one more", "Members": []}),
        "invitations": lambda: ann.rest("POST", f"/rooms/{room}/invitations", {"MaxUses": 1}),
        "searches": lambda: ann.rest("GET", f"/rooms/{room}/search?q=again"),
    }.items():
        refused = next(answer for answer in (deed() for _ in range(5 * MOST)) if answer.status_code != 201 and
                       answer.status_code != 200)
        error = refused.json()["Error"]
        assert (refused.status_code, error["Code"]) == (429, "rate_limited"), refused.text
        assert error["Message"].startswith(f"too many {name}; try again in ")
        # Other users and this user's other actions are not affected.
        bob.rest("POST", f"/rooms/{room}/messages", {"Content": "mine"}, expect=201)
        ann.rest("GET", f"/rooms/{room}/messages", expect=200)
        time.sleep(int(refused.headers["Retry-After"]))
        assert deed().status_code in (200, 201), name


def in_small_steps(deed):
    """A relay counts once a second and may exceed the limit by that: nearly all at once, then a few at a time."""
    for number in range(5 * MOST):
        if number >= MOST - 10 and number % 5 == 0:
            time.sleep(1.2)
        yield deed()


def over_a_socket(ann):
    room = ann.group()
    with ann.socket() as socket:
        answers = in_small_steps(lambda: socket.ask(message_frame(RoomID=room)))
        refused = next(answer for answer in answers if not answer["Success"])
        assert refused["Error"].startswith("rate_limited: too many messages; try again in "), refused["Error"]
        time.sleep(int(refused["Error"].split()[-2]) + 1)
        assert socket.ask(message_frame(RoomID=room))["Success"]


def connections(ann):
    room, wait = ann.group(), None
    try:
        for socket in in_small_steps(ann.socket):
            socket.close()
    except InvalidStatus as refused:
        assert refused.response.status_code == 429
        wait = int(refused.response.headers["Retry-After"])
    assert wait, "nobody was turned away"
    time.sleep(wait + 1)
    with ann.socket() as socket:
        assert socket.ask({"Type": "seen", "RoomID": room, "Sign": "a"})["Success"]
