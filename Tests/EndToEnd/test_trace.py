"""The steps of one message, found by its own id, its request's id, and its trace id."""


from conftest import run_program
from waiting import eventually


def trace(id):
    return run_program("fcgi-api", "trace", id)


def trace_with(id, text, seconds=10):
    """The relay writes its step a moment after the frame."""
    return eventually(lambda: text in (told := trace(id)) and told, seconds, lambda: trace(id), pause=0.1)


def test_a_message_is_traced_by_each_of_its_ids(ann, bob):
    room = ann.group(bob)
    with ann.socket(), bob.socket() as socket:
        came = f"00-{'ab' * 16}-{'cd' * 8}-01"
        answer = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "follow me"}, 201, headers={"traceparent": came})
        message = answer.json()["Data"]
        socket.new_message("follow me")
    told = trace_with(message["ID"], "delivered to 2 sockets")
    order = [told.index(step) for step in ("accepted", "taken from its queue", f"stored with Seq {message['Seq']}",
                                           "delivered to 2 sockets")]
    assert order == sorted(order)
    assert "follow me" not in told
    gone_out = answer.headers["traceparent"]
    assert gone_out == f"00-{message['ID'].replace('-', '')}-{gone_out.split('-')[2]}-01" and gone_out in told
    # The request's id finds it too.
    assert answer.headers["X-Request-ID"] == "ab" * 16
    assert message["ID"] in trace("ab" * 16)


def test_a_refusal_is_traced_with_its_code(ann, bob, make_user):
    room = ann.group(bob)
    stranger = make_user()
    stranger.rest("POST", f"/rooms/{room}/messages", {"Content": "?"}, 404, headers={"X-Request-ID": f"refused-{room}"})
    assert "refused: not_a_member" in trace(f"refused-{room}")


def test_what_the_trail_does_not_know_is_said(ann):
    assert "there is no step of" in trace(ann.id)
