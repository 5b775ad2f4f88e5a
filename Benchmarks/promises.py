"""chat-load beside the measurements: sockets that close and come back, files, and the client's own ledger."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from stack import CHECKOUT, number, table

SECONDS = number("BENCH_SECONDS", 10)
RATE, CHURN, FILES = number("BENCH_RATE", 1000), number("BENCH_CHURN", 5), number("BENCH_UPLOADS", 2)


def measure(stack):
    program = Path(os.environ.get("CHAT_BIN") or CHECKOUT / ".build/release") / "chat-load"
    with tempfile.TemporaryDirectory(prefix="chat-bench-") as folder:
        result = Path(folder, "load.json")
        words = ["--users", "100", "--rooms", "10", "--members", "10", "--rate", str(RATE), "--duration", f"{SECONDS}s",
                 "--churn", str(CHURN), "--uploads", str(FILES), "--check-history", "--quiet", "--json", str(result)]
        done = subprocess.run([program, "run", "--url", stack.url.geturl(), *words], capture_output=True, text=True,
                              env={**os.environ, "JWT_SECRET": stack.settings["JWT_SECRET"]})
        if done.returncode == 2:
            raise RuntimeError(f"chat-load: {done.stderr[-500:]}")
        found = json.loads(result.read_text())
    print(f"\nThe promises (chat-load): {RATE} messages/s for {SECONDS} s, {CHURN} sockets a second close and come back, {FILES} "
          f"files a second. {done.stdout.splitlines()[0]}.")
    ledger = found["Ledger"]
    table(list(ledger), [[str(value) for value in ledger.values()]])
    rows = [[name, str(times["Count"]), *(f"{times[part] / 1000:.1f} ms" for part in ("p50", "p90", "p99", "p99.9", "max"))]
            for name, times in found["Latencies"].items() if times["Count"]]
    table(["from due time to", "count", "p50", "p90", "p99", "p99.9", "max"], rows)
    if done.returncode:
        raise RuntimeError("chat-load: a promise was broken")
