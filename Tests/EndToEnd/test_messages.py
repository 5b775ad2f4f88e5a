"""The steps of a message: over the socket and over REST, to the receiver and into the history."""

import threading
import time
import uuid

from client import message_frame


def test_the_first_clients_frame_works_unchanged(ann, bob):
    with ann.socket() as mine, bob.socket() as theirs:
        room = ann.group(bob)
        frame = {"Type": "message", "RoomID": room, "ReceiverID": bob.id, "Content": "Hello World",
                 "ContentType": "text", "MessageType": "direct", "Sign": "unique-sign-123", "ParentMessageID": ""}
        answer = mine.ask(frame)
        assert answer["Success"] is True and answer["Error"] == "", answer
        assert answer["Data"]["Content"] == "Hello World"
        # Both are given: the room wins, and no PRIVATE room is created.
        assert answer["Data"]["RoomID"] == room

        arrived = theirs.new_message("Hello World")
        assert arrived["Success"] is True and arrived["Error"] == ""
        assert arrived["RoomID"] == room and arrived["Seq"] == answer["Seq"]
        assert arrived["Data"]["ID"] == answer["Data"]["ID"]
        assert arrived["Data"]["SenderID"] == ann.id

    stored = [message for message in bob.history(room) if message["ID"] == answer["Data"]["ID"]]
    assert len(stored) == 1
    assert stored[0]["Content"] == "Hello World" and stored[0]["Sign"] == "unique-sign-123"


def test_the_sender_gets_one_response_and_their_other_socket_the_message(ann, bob):
    with ann.socket() as phone, ann.socket() as laptop:
        room = ann.group(bob)
        frame = message_frame(RoomID=room, Content="from my phone")
        answer = phone.ask(frame)
        laptop.new_message("from my phone")
        time.sleep(0.3)
        message = answer["Data"]["ID"]
        about = lambda frame: frame.get("Data") and frame["Data"].get("ID") == message
        assert phone.count(about) == 1
        assert laptop.count(about) == 1


def test_a_rest_send_reaches_every_socket(ann, bob):
    with ann.socket() as mine, bob.socket() as theirs:
        room = ann.group(bob)
        sent = ann.data("POST", f"/rooms/{room}/messages", {"Content": "by post"}, 201)
        for socket in (mine, theirs):
            assert socket.new_message("by post")["Data"]["ID"] == sent["ID"]
    assert bob.history(room)[-1]["ID"] == sent["ID"]


def test_a_receiver_alone_makes_the_private_room(ann, bob):
    with ann.socket() as mine, bob.socket() as theirs:
        answer = mine.ask(message_frame(ReceiverID=bob.id, Content="psst"))
        assert answer["Success"] is True, answer
        assert theirs.new_message("psst")["RoomID"] == answer["Data"]["RoomID"]
        back = theirs.ask(message_frame(ReceiverID=ann.id, Content="what?"))
        assert back["Data"]["RoomID"] == answer["Data"]["RoomID"]
        mine.new_message("what?")
    assert ann.data("GET", f"/rooms/{answer['Data']['RoomID']}")["Type"] == "PRIVATE"


def test_both_sending_at_once_make_one_private_room(make_user):
    for _ in range(10):
        ann, bob = make_user(), make_user()
        with ann.socket() as mine, bob.socket() as theirs:
            start, answers = threading.Barrier(2), {}

            def send(socket, receiver):
                start.wait()
                answers[receiver.id] = socket.ask(message_frame(ReceiverID=receiver.id, Content=f"to {receiver.id}"))

            threads = [threading.Thread(target=send, args=pair) for pair in ((mine, bob), (theirs, ann))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert all(answer["Success"] for answer in answers.values()), answers
            rooms = {answer["Data"]["RoomID"] for answer in answers.values()}
            assert len(rooms) == 1
            theirs.new_message(f"to {bob.id}")
            mine.new_message(f"to {ann.id}")
        for user in (ann, bob):
            listed = [room["ID"] for room in user.data("GET", "/rooms") if room["Type"] == "PRIVATE"]
            assert listed == list(rooms)


def test_the_same_sign_is_stored_once(ann, bob):
    with ann.socket() as mine, bob.socket() as theirs:
        room = ann.group(bob)
        frame = message_frame(RoomID=room, Content="once")
        first = mine.ask(frame)
        mine.send(frame)
        again = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "once"},
                         headers={"Idempotency-Key": frame["Sign"]})
        assert again.status_code in (200, 201) and again.json()["Data"]["ID"] == first["Data"]["ID"]
        mine.wait(lambda _: mine.count(lambda got: got.get("Sign") == frame["Sign"]) == 2)
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "after"}, 201)
        theirs.new_message("after")
        assert theirs.count(lambda got: got["Type"] == "new_message" and got["Data"]["Content"] == "once") == 1
    assert [message["Content"] for message in bob.history(room) if message["Sign"] == frame["Sign"]] == ["once"]


def test_frames_of_a_room_are_numbered_without_gaps(ann, bob):
    with ann.socket() as mine, bob.socket() as theirs:
        room = ann.group(bob)
        for number in range(50):
            mine.send(message_frame(RoomID=room, Content=f"number {number}"))
        theirs.new_message("number 49")
        mine.wait(lambda frame: frame["Type"] == "response" and frame["Data"]["Content"] == "number 49")
        for socket in (mine, theirs):
            seqs = [frame["Seq"] for frame in socket.frames if frame.get("RoomID") == room and frame["Seq"]]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        contents = [frame["Data"]["Content"] for frame in theirs.frames if frame["Type"] == "new_message"]
        assert [text for text in contents if text.startswith("number")] == [f"number {n}" for n in range(50)]


def test_a_socket_that_was_away_resumes_where_it_stopped(ann, bob):
    room = ann.group(bob)
    with bob.socket() as theirs:
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "seen live"}, 201)
        last = theirs.new_message("seen live")["Seq"]
    missed = [ann.data("POST", f"/rooms/{room}/messages", {"Content": f"missed {n}"}, 201)["ID"] for n in range(5)]
    with bob.socket() as theirs:
        theirs.send({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": last}], "Sign": str(uuid.uuid4())})
        theirs.new_message("missed 4")
        got = [frame for frame in theirs.frames if frame["Type"] == "new_message" and frame["RoomID"] == room]
        assert [frame["Data"]["ID"] for frame in got] == missed
        assert [frame["Seq"] for frame in got] == list(range(last + 1, last + 6))


def test_ping_and_a_text_with_every_kind_of_character(ann, bob):
    text = "Grüße 你好 👩‍👩‍👧‍👦 \u0000 \"quoted\" \\ \n\t </script> é " + "x" * 4000
    with ann.socket() as mine, bob.socket() as theirs:
        mine.send({"Type": "ping"})
        mine.wait(lambda frame: frame["Type"] == "pong")
        answer = mine.ask(message_frame(ReceiverID=bob.id, Content=text.replace("\u0000", "")))
        assert answer["Success"] is True
        assert theirs.new_message(text.replace("\u0000", ""))
        # PostgreSQL cannot store U+0000: it must be a refusal, not a crash or a truncated text.
        refused = mine.ask(message_frame(ReceiverID=bob.id, Content=text))
        assert refused["Success"] is False or refused["Data"]["Content"] == text
