"""A hidden presence stays hidden, also while relays change; a blocked user is not seen typing."""

import time

from conftest import thorough
from waiting import eventually

PRESENCE_SECONDS = 8  # a relay waits five before it says that somebody left


def told(socket, user):
    return [frame["Data"] for frame in socket.frames if frame["Type"] == "presence" and frame["Data"]["UserID"] == user.id]


@thorough
def test_who_hides_is_seen_nowhere(ann, bob, reconfigure):
    room = ann.group(bob)
    with ann.socket() as socket:
        shown = bob.socket()
        socket.wait(lambda frame: frame["Type"] == "presence" and frame["Data"]["Online"])
        bob.data("PATCH", "/account", {"HidePresence": True})
        gone = socket.wait(lambda frame: frame["Type"] == "presence" and not frame["Data"]["Online"])["Data"]
        assert gone["LastSeenAt"] is None
        before = len(told(socket, bob))

        def is_hidden():
            mark = ann.data("GET", f"/users/{bob.id}/presence")
            assert (mark["Online"], mark["LastSeenAt"]) == (False, None)
            assert len(told(socket, bob)) == before, told(socket, bob)

        is_hidden()
        # The relay's successor, which took over both sockets, still knows it.
        reconfigure("ws-relay")
        shown.close()
        time.sleep(PRESENCE_SECONDS)
        is_hidden()
        with bob.socket() as again:
            ann.data("POST", f"/rooms/{room}/messages", {"Content": "are you there?"}, 201)
            again.new_message("are you there?")
            is_hidden()
            # The user sees their own presence, and becomes visible again.
            assert bob.data("GET", f"/users/{bob.id}/presence")["Online"] is True
            bob.data("PATCH", "/account", {"HidePresence": False})
            eventually(lambda: len(told(socket, bob)) > before, 20, lambda: "nobody was told")
            assert told(socket, bob)[-1]["Online"] is True
            assert ann.data("GET", f"/users/{bob.id}/presence")["Online"] is True


def test_the_two_of_a_blocked_pair_do_not_see_each_other_typing(ann, bob):
    pair = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    group = ann.group(bob)

    def seen(sender, receiver, room):
        """Typing has no order with other frames, but precedes a later frame of the same kind in the group."""
        before = receiver.count(lambda frame: frame["Type"] == "typing" and frame["RoomID"] == room)
        marker = receiver.count(lambda frame: frame["Type"] == "typing" and frame["RoomID"] == group)
        asked = 0

        def has_come():
            nonlocal asked
            # One frame a second per user and room is sent; further ones are dropped.
            if time.monotonic() - asked > 1.2:
                asked = time.monotonic()
                for where in (room, group):
                    sender.send({"Type": "typing", "RoomID": where})
            return receiver.count(lambda frame: frame["Type"] == "typing" and frame["RoomID"] == group) > marker

        eventually(has_come, 20, lambda: "typing in the group did not come", pause=0.02)
        return receiver.count(lambda frame: frame["Type"] == "typing" and frame["RoomID"] == room) > before

    with ann.socket() as mine, bob.socket() as theirs:
        def until(are_seen):
            """The relays learn of a block a moment after it is stored."""
            eventually(lambda: [seen(mine, theirs, pair), seen(theirs, mine, pair)] == [are_seen, are_seen], 20,
                       lambda: f"after 20 s typing is not as it should be: {are_seen}", pause=0)

        until(True)
        ann.rest("PUT", f"/users/{bob.id}/block", expect=204)
        until(False)
        with bob.socket() as another:  # knows it from the store
            assert not seen(another, mine, pair)
        ann.rest("DELETE", f"/users/{bob.id}/block", expect=204)
        until(True)
