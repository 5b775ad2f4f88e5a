"""A room is invisible to everybody outside of it: a missing room and another's room give the same answer."""

import uuid

from client import message_frame


def test_a_stranger_sees_nothing_over_rest(ann, bob, make_user):
    eve, room = make_user(), ann.group(bob)
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "secret"}, 201)["ID"]
    for id, answer_id in ((room, message), (str(uuid.uuid4()), str(uuid.uuid4()))):
        for method, path, body in (
            ("GET", f"/rooms/{id}", None), ("PATCH", f"/rooms/{id}", {"Name": "mine"}), ("DELETE", f"/rooms/{id}", None),
            ("GET", f"/rooms/{id}/members", None), ("POST", f"/rooms/{id}/members", {"UserID": eve.id}),
            ("GET", f"/rooms/{id}/messages", None), ("POST", f"/rooms/{id}/messages", {"Content": "hi"}),
            ("POST", f"/rooms/{id}/seen", {}),
            ("GET", f"/messages/{answer_id}", None), ("PATCH", f"/messages/{answer_id}", {"Content": "other"}),
            ("DELETE", f"/messages/{answer_id}", None), ("PUT", f"/messages/{answer_id}/reactions/%F0%9F%91%8D", None),
        ):
            answer = eve.rest(method, path, body)
            assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"
            assert "secret" not in answer.text
    assert eve.data("GET", "/rooms") == []
    assert [found["Content"] for found in bob.history(room) if found["MessageType"] != "system"] == ["secret"]


def test_a_stranger_cannot_write_over_the_socket_and_hears_nothing(ann, bob, make_user):
    eve = make_user()
    with ann.socket() as mine, eve.socket() as theirs:
        room = ann.group(bob)
        for id in (room, str(uuid.uuid4())):
            refused = theirs.ask(message_frame(RoomID=id, Content="let me in"))
            assert refused["Success"] is False and refused["Error"].startswith("not_a_member: ")
        assert mine.ask(message_frame(RoomID=room, Content="private"))["Success"] is True
        theirs.send({"Type": "ping"})
        theirs.wait(lambda frame: frame["Type"] == "pong")
        assert theirs.count(lambda frame: frame.get("RoomID") == room and frame["Type"] != "response") == 0
    assert all(found["SenderID"] != eve.id for found in ann.history(room))


def test_someone_who_left_gets_no_more(ann, bob):
    with ann.socket() as mine, bob.socket() as theirs:
        room = ann.group(bob)
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "for both"}, 201)
        theirs.new_message("for both")
        assert bob.rest("DELETE", f"/rooms/{room}/members/{bob.id}").status_code in (200, 204)
        assert mine.ask(message_frame(RoomID=room, Content="for me"))["Success"] is True
        refused = theirs.ask(message_frame(RoomID=room, Content="and me?"))
        assert refused["Success"] is False
        assert theirs.count(lambda frame: frame["Type"] == "new_message" and frame["Data"]["Content"] == "for me") == 0
    assert bob.rest("GET", f"/rooms/{room}/messages").status_code == 404
