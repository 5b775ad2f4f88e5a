"""The run as a table and as a picture."""

from collections import Counter, defaultdict
from html import escape

# Seconds after a fault's end that still count for it.
AFTER = 15
PEN = {"sends": "#8a8f98", "acknowledged": "#1f77b4", "deliveries / 10": "#2ca02c"}


def table(ledger, found, faults, start, end, also=()):
    """`also`: heads of more columns, each with a function of the faults of one name."""
    sends = list(ledger.sends.values())
    acknowledged = [send for send in sends if send.acknowledged is not None]
    lines = [
        f"{end - start:.0f} s, {len(faults)} faults, {len(sends)} messages in {sum(send.attempts for send in sends)} tries, "
        f"{len(acknowledged)} acknowledged, {len(ledger.deliveries)} frames delivered, {ledger.reconnects} reconnections, "
        f"{sum(stream.resyncs for stream in ledger.streams.values())} resyncs, {len(ledger.files)} files", "",
        "| must be 0 | found |", "|---|---:|"]
    lines += [f"| {name} | {len(what)} |" for name, what in found.items()]
    lines += ["", "| fault | times | longest time without an acknowledgement, s (median · worst) |"
              f"{''.join(f' {head} |' for head, _ in also)} answers to sends in that time |", f"|---|---:|---:|{'---:|' * len(also)}---|"]
    times = sorted([start, *[send.acknowledged for send in acknowledged], end])
    by_name = defaultdict(list)
    for fault in faults:
        by_name[fault.name].append(fault)
    for name, same in sorted(by_name.items()):
        pauses = sorted(longest_pause(times, fault.began, fault.ended + AFTER) for fault in same)
        answers = Counter(outcome for when, _, outcome, _ in ledger.answers
                          if any(fault.began <= when <= fault.ended + AFTER for fault in same))
        said = ", ".join(f"{outcome} {count}" for outcome, count in answers.most_common())
        more = "".join(f" {value(same)} |" for _, value in also)
        lines.append(f"| {name} | {len(same)} | {pauses[len(pauses) // 2]:.1f} · {pauses[-1]:.1f} |{more} {said} |")
    return "\n".join(lines)


def longest_pause(times, begin, end):
    return longest_pause_since(times, begin, end)[0]


def longest_pause_since(times, begin, end):
    """(seconds, its begin after `begin`)"""
    inside = [begin, *[when for when in times if begin < when < end], min(end, times[-1])]
    return max(((b - a, a - begin) for a, b in zip(inside, inside[1:])), default=(0, 0))


def picture(ledger, faults, start, end):
    """An SVG: three curves of events per second, and the faults as bars below."""
    width, height, row = 1200, 260, 14
    span = max(end - start, 1)
    series = {
        "sends": [send.started for send in ledger.sends.values()],
        "acknowledged": [send.acknowledged for send in ledger.sends.values() if send.acknowledged],
        "deliveries / 10": ledger.deliveries,
    }
    counts = {name: per_second(times, start, int(span) + 1, 10 if name.endswith("10") else 1)
              for name, times in series.items()}
    top = max([1, *[max(values) for values in counts.values()]])
    rows = sorted({fault.name for fault in faults})
    whole = height + 60 + row * len(rows)
    x = lambda when: 180 + (when - start) / span * (width - 200)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {whole}" font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{whole}" fill="white"/>']
    for index, (name, values) in enumerate(counts.items()):
        points = " ".join(f"{x(start + second + 0.5):.1f},{height - value / top * (height - 30):.1f}"
                          for second, value in enumerate(values))
        out.append(f'<polyline points="{points}" fill="none" stroke="{PEN[name]}"/>')
        out.append(f'<text x="8" y="{30 + 16 * index}" fill="{PEN[name]}">{escape(name)}</text>')
    out.append(f'<text x="8" y="{height}">0 … {top:.0f} a second</text>')
    for second in range(0, int(span) + 1, max(1, int(span / 12))):
        out.append(f'<text x="{x(start + second):.1f}" y="{height + 16}" text-anchor="middle">{second} s</text>')
    for index, name in enumerate(rows):
        y = height + 26 + row * index
        out.append(f'<text x="8" y="{y + 10}">{escape(name)}</text>')
        for fault in (fault for fault in faults if fault.name == name):
            long = max(2.0, x(fault.ended) - x(fault.began))
            out.append(f'<rect x="{x(fault.began):.1f}" y="{y}" width="{long:.1f}" height="{row - 3}" fill="#d62728"/>')
            out.append(f'<line x1="{x(fault.began):.1f}" x2="{x(fault.began):.1f}" y1="20" y2="{y}" stroke="#d62728" '
                       'stroke-opacity="0.15"/>')
    return "\n".join([*out, "</svg>"])


def per_second(times, start, seconds, divisor):
    values = [0] * seconds
    for when in times:
        if 0 <= when - start < seconds:
            values[int(when - start)] += 1 / divisor
    return values
