"""The facts without which a figure means nothing."""

import os
import re
import subprocess
from pathlib import Path


def first_line(*command):
    try:
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else "unknown"


def load():
    return " ".join(Path("/proc/loadavg").read_text().split()[:3])


def pauses(client, seconds=5):
    """The share of each CPU that is lost to pauses of the idle machine, as text."""
    watches = [subprocess.Popen(["taskset", "-c", str(cpu), client, "pauses", f"seconds={seconds}"],
                                stdout=subprocess.PIPE, text=True) for cpu in sorted(os.sched_getaffinity(0))]
    found = []
    for number, watch in enumerate(watches):
        values = dict(line.split() for line in watch.communicate()[0].splitlines())
        share = int(values["sum_us"]) / seconds / 1e6
        found.append(f"CPU {number} {int(values['count']) / seconds:.1f} a second, {share:.1%} of the time, "
                     f"the longest {int(values['longest_us']) / 1000:.1f} ms")
    return "; ".join(found)


def show(client):
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    release = Path("/etc/os-release")
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', release.read_text(), re.MULTILINE) if release.exists() else None
    kept = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "postgresql", "redis-server",
                           "rabbitmq-server", "nginx"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    print(f"machine   {os.cpu_count()} x {cpu[1] if cpu else os.uname().machine}, "
          f"{int(memory[1]) // 2**20} GiB, Linux {os.uname().release}, {system[1] if system else 'unknown system'}")
    print(f"programs  {first_line('swift', '--version')}; {kept.stdout.rstrip(', ') or 'servers unknown'}")
    print(f"load      {load()} before the first run; everything on loopback, the client on the same cores")
    print(f"pauses    of the idle machine, over 1 ms: {pauses(client)}\n", flush=True)
