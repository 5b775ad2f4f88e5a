"""Search as a client sees it, and the effect of one user's searches on others."""

import os
import threading
import time

# As many as five minutes of sending at the default rate limits.
MANY = 290_000 if os.environ.get("THOROUGH") else 20_000


def filled(ann, sql, count):
    """A room of Ann's with many messages that contain the same word: more than a client could send during a test."""
    room = ann.group()
    sql.ask(f"INSERT INTO messages (id, room_id, seq, change_seq, sender_id, content, content_type, message_type, status, "
            f"created_at) SELECT gen_random_uuid(), '{room}', i, i, '{ann.id}', 'flood number ' || i, 1, 1, 1, now() "
            f"FROM generate_series(1000, {count + 999}) i")
    sql.ask(f"UPDATE rooms SET last_seq = {count + 1000}, last_message_seq = {count + 999}, message_count = {count} "
            f"WHERE id = '{room}'")
    return room


def test_many_searches_of_one_user_leave_others_alone(ann, bob, psql):
    filled(ann, psql(), MANY)
    mine = bob.group()
    bob.data("POST", f"/rooms/{mine}/messages", {"Content": "before"}, 201)
    statuses, times, end = [], [], threading.Event()

    def search():
        while not end.is_set():
            start = time.monotonic()
            statuses.append(ann.rest("GET", "/search?q=flood%20number&limit=100").status_code)
            times.append(time.monotonic() - start)

    searchers = [threading.Thread(target=search) for _ in range(6)]
    for thread in searchers:
        thread.start()
    reads, sends = [], []
    for number in range(20):
        start = time.monotonic()
        assert bob.rest("GET", f"/rooms/{mine}/messages").status_code == 200
        reads.append(time.monotonic() - start)
        start = time.monotonic()
        assert bob.rest("POST", f"/rooms/{mine}/messages", {"Content": f"{number}"}).status_code == 201
        sends.append(time.monotonic() - start)
    end.set()
    for thread in searchers:
        thread.join()
    print(f"{MANY} messages: searches {min(times):.3f} to {max(times):.3f} s ({len(times)}, {statuses.count(200)} answered); "
          f"meanwhile another's history at most {max(reads):.3f} s, sends {max(sends):.3f} s")
    assert set(statuses) <= {200, 429} and 200 in statuses, statuses


def test_a_second_search_of_the_same_user_is_told_to_wait(ann, bob, psql):
    room = ann.group(bob)
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "bread"}, 201)
    sql = psql()
    sql.ask("BEGIN")
    sql.ask(f"SELECT pg_advisory_xact_lock(7224, hashtext('{ann.id}'))")
    refused = ann.rest("GET", "/search?q=bread", expect=429)
    assert refused.json()["Error"]["Code"] == "rate_limited" and int(refused.headers["Retry-After"]) >= 1
    assert len(bob.data("GET", "/search?q=bread")) == 1
    sql.ask("ROLLBACK")
    assert len(ann.data("GET", "/search?q=bread")) == 1


def test_pages_follow_each_other(ann, bob):
    rooms = [ann.group(bob), ann.group(bob)]
    for number in range(12):
        ann.data("POST", f"/rooms/{rooms[number % 2]}/messages", {"Content": f"needle {number}"}, 201)
    seen, cursor = [], ""
    while cursor is not None:
        page = bob.rest("GET", f"/search?q=needle&limit=5&cursor={cursor}", expect=200).json()
        seen += [hit["Content"] for hit in page["Data"]]
        cursor = page["Next"]
    assert seen == [f"needle {number}" for number in reversed(range(12))]


def test_accents_do_not_count(ann, bob):
    room = ann.group(bob)
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "M\u00fcller"}, 201)
    for query in ("Mu%CC%88ller", "M%C3%BCller", "muller", "m%C3%BCl"):
        assert [hit["Content"] for hit in bob.data("GET", f"/rooms/{room}/search?q={query}")] == ["M\u00fcller"]
