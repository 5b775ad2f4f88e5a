"""Messages from socket to socket: 100 users in 10 rooms of 10, texts of 100 bytes, each stored, acknowledged, and
received by all ten members."""

import os
import threading
import uuid
from statistics import median

from stack import new_user, number, run_client, table

ROOMS, MEMBERS, BYTES = 10, 10, 100
SECONDS = number("BENCH_SECONDS", 10)
ROUNDS = number("BENCH_ROUNDS", 3)
RATES = [int(rate) for rate in os.environ.get("BENCH_RATES", "100,1000,5000").split(",") if rate]
# The upper limit of the search for the highest rate.
HIGHEST = number("BENCH_HIGHEST", 25_000)
# Messages per second of a quiet room, and of the loud one on its queue.
QUIET, LOUD = 50, number("BENCH_LOUD", 5000)
NAMES = ("postgres", "redis", "rabbitmq", "nginx", "fcgi-api", "ws-relay", "queue-worker", "client")
VIOLATIONS = ("gaps", "doubles", "strangers", "uneven")


class Load:
    def __init__(self, stack):
        self.stack = stack
        self.plan = ""
        for _ in range(ROOMS):
            room, tokens = stack.group([new_user() for _ in range(MEMBERS)])
            self.plan += "".join(f"{room} {token}\n" for token in tokens)
        self.plan += "\n"
        self.violations = 0
        self.lost = 0

    def run(self, rate, seconds=SECONDS):
        run = uuid.uuid4().hex[:8]
        result = run_client("messages", self.stack.processes(), self.plan, port=self.stack.url.port, run=run, rate=rate,
                            seconds=seconds, bytes=BYTES)
        result.stored = int(self.stack.sql(f"SELECT count(*) FROM messages WHERE content LIKE '#{run}:%'"))
        found = {name: result[name] for name in VIOLATIONS if result[name]}
        self.violations += sum(found.values())
        self.lost += max(0, result["acknowledged"] - result.stored)
        if found or result["refused"] or result["closed"]:
            print(f"  at {rate}/s: {found or 'in order'}, {result['refused']} refused, {result['closed']} closed; "
                  f"{result.values.get('refusal', '')[:200]}")
        return result


def holds(result, rate, seconds):
    """Whether everything arrived and the number of outstanding messages did not grow from the second quarter to the last."""
    due = rate * seconds
    return (result["completed"] == due and result.stored == due and not result["refused"] and not result["closed"]
            and result["backlog_late"] <= 1.5 * result["backlog_early"] + rate * 0.1)


def measure(stack):
    load = Load(stack)
    load.run(200, 2)
    print(f"Messages, socket to socket: {ROOMS * MEMBERS} users in {ROOMS} rooms of {MEMBERS}, {BYTES}-byte texts, "
          f"{SECONDS} s a run, medians of {ROUNDS} runs.\n"
          "Milliseconds from the time at which the message was due: to its response, to each member, to the last member.")
    latencies, costs, highest = [], [], []
    for rate in RATES:
        results = [load.run(rate) for _ in range(ROUNDS)]
        highest += [rate] if all(holds(result, rate, SECONDS) for result in results) else []
        latencies.append(latency_row(f"{rate:,}/s", results))
        costs.append(cost_row(f"{rate:,}/s", results))
    best, result = climb(load, max(highest, default=1000))
    if result:
        latencies.append(latency_row(f"{best:,}/s", [result]))
        costs.append(cost_row(f"{best:,}/s", [result]))
    table(["rate", "response p50", "p99", "member p50", "p99", "last p50", "p99", "max", "stored", "complete"], latencies)
    print("\nCPU microseconds a message, by program; `others` is how many cores everybody else used meanwhile")
    table(["rate", *NAMES, "all", "without client", "others"], costs)
    print(f"\nhighest rate that held for {SECONDS} s: {best:,}/s; "
          f"order violations: {load.violations}; acknowledged but not stored: {load.lost}\n", flush=True)


def measure_neighbours(stack):
    """The effect of a loud room on a quiet one: on the same queue, and on another, where they share only the machine."""
    def client(room, tokens, rate, seconds):
        plan = "".join(f"{room} {token}\n" for token in tokens) + "\n"
        return run_client("messages", stack.processes(), plan, port=stack.url.port, run=uuid.uuid4().hex[:8], rate=rate,
                          seconds=seconds, bytes=BYTES)

    def quiet(is_wanted):
        while not is_wanted(queue_of((found := stack.group([new_user(), new_user()], "Quiet"))[0], total)):
            pass
        return found

    def beside(room):
        # The loud one begins before the quiet one and ends after it.
        noise = threading.Thread(target=client, args=(*loud, LOUD, SECONDS + 4))
        noise.start()
        threading.Event().wait(2)
        result = client(*room, QUIET, SECONDS)
        noise.join()
        return result

    total = int(stack.settings.get("RABBITMQ_TOTAL_QUEUE") or 10)
    loud = stack.group([new_user() for _ in range(MEMBERS)], "Loud")
    loud_queue = queue_of(loud[0], total)
    near, far = quiet(lambda queue: queue == loud_queue), quiet(lambda queue: queue != loud_queue)
    print(f"\nA room of 2 at {QUIET}/s, alone and beside a room of {MEMBERS} at {LOUD:,}/s: to the response, ms")
    table(["", "p50", "p99", "stored"], [
        [name, f"{result['ack_p50_us'] / 1000:.2f}", f"{result['ack_p99_us'] / 1000:.2f}", f"{result['acknowledged']:,}"]
        for name, result in (("alone", client(*near, QUIET, SECONDS)), ("beside, on the same queue", beside(near)),
                             ("beside, on another queue", beside(far)))])


def queue_of(room, total):
    """The chat's hash: FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in room.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value % total


def latency_row(name, results):
    def middle(key):
        return f"{median(result[key] for result in results) / 1000:.2f}"
    return [name, middle("ack_p50_us"), middle("ack_p99_us"), middle("arrival_p50_us"), middle("arrival_p99_us"),
            middle("complete_p50_us"), middle("complete_p99_us"), middle("complete_max_us"),
            f"{sum(result.stored for result in results):,}",
            "yes" if all(result["completed"] == result["sent"] == result.stored for result in results) else "no"]


def cost_row(name, results):
    def cost(names):
        return f"{median(sum(r.cpu.get(n, 0) for n in names) / max(1, r['completed']) for r in results) * 1e6:.0f}"
    every = sorted({program for result in results for program in result.cpu})
    return [name, *(cost([program]) for program in NAMES), cost(every),
            cost([program for program in every if program != "client"]),
            f"{median(result.others for result in results):.2f}"]


def climb(load, start):
    """Raises the rate by a fifth until it fails twice."""
    best, kept, rate = start, None, start
    while rate * 1.2 <= HIGHEST:
        rate = round(rate * 1.2 / 100) * 100
        for _ in range(2):
            result = load.run(rate)
            if holds(result, rate, SECONDS):
                break
        else:
            break
        best, kept = rate, result
    return best, kept
