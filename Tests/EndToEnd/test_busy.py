"""A full queue refuses at once, over REST and sockets, with the time to wait; accepted messages are stored."""


from chaos.faults import PROGRAMS
from client import message_frame
from conftest import thorough
from waiting import eventually

FULL = 100  # the fewest that the setting allows


@thorough
def test_a_full_queue_is_busy_and_nothing_is_lost(ann, bob, psql, reconfigure):
    # Queues with other names: existing ones keep their length.
    for program in PROGRAMS:
        reconfigure(program, RABBITMQ_PREFIX="small", RABBITMQ_MAX_LENGTH=FULL, WORKER_PREFETCH=1)
    room, holder = ann.group(bob), psql()
    with ann.socket() as socket:
        holder.ask(f"BEGIN; SELECT 1 FROM rooms WHERE id = '{room}' FOR UPDATE")
        for number in range(2 * FULL):
            socket.send(message_frame(RoomID=room, Content=str(number), Sign=str(number)))
            # Each command in a message of its own.
            socket.send({"Type": "ping"})
            eventually(lambda sent=number: socket.count(lambda frame: frame["Type"] == "pong") > sent, 20, pause=0.001)
        refused = socket.wait(lambda frame: frame["Type"] == "response" and not frame["Success"])
        assert refused["Error"] == "busy: the room's queue is full; try again in a second"
        answer = bob.rest("POST", f"/rooms/{room}/messages", {"Content": "and over REST", "Sign": "over REST"}, expect=503)
        assert answer.json()["Error"]["Code"] == "busy" and int(answer.headers["Retry-After"]) > 0
        holder.ask("ROLLBACK")
        eventually(lambda: socket.count(lambda frame: frame["Type"] == "response") == 2 * FULL, why=lambda: "not everything was answered")
        answers = {frame["Sign"]: frame["Success"] for frame in socket.frames if frame["Type"] == "response"}
    bob.rest("POST", f"/rooms/{room}/messages", {"Content": "and over REST", "Sign": "over REST"}, expect=201)
    stored = [message["Sign"] for message in ann.history(room)]
    assert stored == [sign for sign, is_stored in answers.items() if is_stored] + ["over REST"]
    assert len(stored) > FULL
