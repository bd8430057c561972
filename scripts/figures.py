"""From reports of the generator to figures: medians with their spread, ratios, and the tables that are printed."""

import statistics

# What a load may not show, by the generator's counts.
FAULTS = ("lost", "duplicates", "wrong_order", "unanswered", "unsent", "broken")


def values(reports, take):
    """One figure of each report that has it."""
    found = []
    for report in reports:
        try:
            found.append(take(report))
        except (KeyError, TypeError, ZeroDivisionError):
            continue
    return [value for value in found if value is not None]


def median(reports, take):
    """The median of a figure; None if no report has it."""
    found = values(reports, take)
    return statistics.median(found) if found else None


def spread(reports, take, digits=2):
    """A figure's median with the least and the greatest seen."""
    found = values(reports, take)
    if not found:
        return "-"
    middle = f"{statistics.median(found):,.{digits}f}"
    return middle if len(found) == 1 else f"{middle} ({min(found):,.{digits}f}-{max(found):,.{digits}f})"


def cpu(report):
    """Processor time of the server per delivery, in microseconds."""
    return report["server"]["cpu_us_per_delivery"]


def idle_cpu(report):
    """Processor time of the server per second and connection, in microseconds."""
    return report["server"]["cpu_seconds"] * 1e6 / report["seconds"] / report["connections"]


def resident(report):
    """Memory of the server per connection, in bytes."""
    return report["server"]["bytes_per_connection"]


def rate(report):
    """Deliveries per second."""
    return report["deliveries_per_second"]


def p99(report):
    """The 99th percentile of the deliveries' times, in milliseconds."""
    return report["delivery_ms"]["p99"]


def ack_p99(report):
    """The same for acknowledgements."""
    return report["ack_ms"]["p99"]


def quantile(metrics, histogram, part, label=""):
    """A quantile of one of a server's histograms, in milliseconds; within a bucket by proportion. None if it is empty.

    The one beyond the last bound is that bound: a histogram knows no more.
    """
    begin, end = f'{histogram}_bucket{{{label}le="', '"}'
    bounds = [(name[len(begin) : -len(end)], count) for name, count in metrics.items() if name.startswith(begin)]
    buckets = sorted((float(bound), count) for bound, count in bounds if bound != "+Inf")
    total = metrics.get(f"{begin}+Inf{end}", 0)
    if not total or not buckets:
        return None
    least, below = 0.0, 0
    for bound, count in buckets:
        if count >= total * part:
            return 1_000 * (least + (bound - least) * (total * part - below) / (count - below))
        least, below = bound, count
    return 1_000 * least


def faults(reports):
    """What went wrong in these runs, in words; empty if nothing did."""
    found = []
    for name in FAULTS:
        count = sum(report["counts"][name] for report in reports)
        if count:
            found.append(f"{name.replace('_', ' ')} {count:,}")
    for name in ("errors", "closed"):
        for code in {code for report in reports for code in report["counts"][name]}:
            count = sum(report["counts"][name].get(code, 0) for report in reports)
            found.append(f"{name} {code}: {count:,}")
    return ", ".join(found)


def ratio(results, ours, theirs, take):
    """One contender's median over another's."""
    first, second = median(results.get(ours, []), take), median(results.get(theirs, []), take)
    return first / second if first is not None and second else None


def table(head, rows):
    """A table in Markdown, its columns aligned."""
    rows = [head, *rows]
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(head))]
    lines = ["| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def contenders_table(results):
    """What each contender showed in one scenario."""
    head = ["server", "CPU us/delivery", "x floor", "deliveries/s", "p50 ms", "p99 ms", "ack p99 ms"]
    head += ["server CPU", "generator CPU", "not right"]
    rows = []
    for name, reports in results.items():
        if not reports:
            rows.append([name, *["-"] * (len(head) - 2), "did not run"])
            continue
        over = ratio(results, name, "floor", cpu)
        rows.append(
            [
                name,
                spread(reports, cpu),
                "-" if over is None else f"{over:.2f}",
                spread(reports, rate, 0),
                spread(reports, lambda report: report["delivery_ms"]["p50"], 1),
                spread(reports, p99, 1),
                spread(reports, ack_p99, 1),
                spread(reports, lambda report: report["server"]["processors"]),
                spread(reports, lambda report: report["generator"]["processors"]),
                faults(reports) or "nothing",
            ]
        )
    return table(head, rows)


def idle_table(results):
    """What open connections cost each contender."""
    head = ["server", "bytes/connection", "CPU us/s and connection", "resident MiB", "presence B/member", "opened in s"]
    rows = [
        [
            name,
            spread(reports, resident, 0),
            spread(reports, idle_cpu),
            spread(reports, lambda report: report["server"]["resident_bytes"] / 2**20, 1),
            spread(reports, lambda report: report["presence_bytes"] / report["connections"], 0),
            spread(reports, lambda report: report["open_seconds"], 1),
        ]
        for name, reports in results.items()
    ]
    return table(head, rows)


def history_table(results):
    """What pages of history cost."""
    head = ["server", "pages", "p50 ms", "p99 ms", "range reads a page", "messages"]
    rows = []
    for name, reports in results.items():
        figures = [spread(reports, lambda one, key=key: one["history"][key], 1) for key in ("p50", "p99")]
        count = spread(reports, lambda one: one["history"]["pages"], 0)
        reads = spread(reports, lambda one: one["history"]["reads"])
        rows.append([name, count, *figures, reads, spread(reports, lambda one: one["history"]["messages"], 0)])
    return table(head, rows)
