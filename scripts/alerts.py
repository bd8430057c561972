"""The alerts and dashboards of the chart, checked by promtool: what makes each alert fire, and what does not.

Two kinds of input. `tests/alerts/*.yaml` are invented series: each alert is quiet, fires, is quiet again. Samples are
what a test scraped from real nodes while it caused the condition: `NAME.N.prom` is the N-th scrape of one node, 15 s
after the one before; number 0 is from before the cause, the last one from under it. It is taken to go on like that:
gauges keep their value, counters rise on as between the last two. An empty file is a scrape that failed. What was
scraped after the cause may stand in `NAME.resolved.prom`.
"""

import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tools
from tools import ROOT

CHART = ROOT / "helm" / "natter"
RULES = CHART / "alerts.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
INVENTED = ROOT / "tests" / "alerts"
# Where the tests write samples, and the variable that tells them so.
SAMPLES = ROOT / "target" / "alerts"
VARIABLE = "NATTER_TEST_ALERT_SAMPLES"
INTERVAL = 15
# How often the rules are looked at on samples, in seconds; the invented series have the ordinary interval.
LOOK = 60
# How many scrapes the last one is taken to go on: 20 minutes, longer than any alert waits; and to be over: 30 minutes.
HELD, OVER = 80, 120
# The name of a family, as alerts, dashboards and documents write it; one that ends with _ stands for all that begin so.
FAMILY = re.compile(r"\b(?:natter|process)_[a-z0-9_]+")
ONE_NODE = 'instance="sampled",job="natter"'
# What a scrape says of a node that lacks nothing.
IN_REACH = ("natter_store_up", "natter_redis_up", "natter_channel_layer_up", "natter_delivering")
LACKING = ("natter_publishers_in_doubt", "natter_rooms_held", "natter_connections_behind")
SECTIONS = ("**What it means for people.**", "**Look at**", "**Do**")


def promtool():
    """The path of promtool."""
    return tools.unpacked("prometheus", "promtool")


def alerts():
    """Each alert with its expression."""
    found = {}
    for part in re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)[1:]:
        expression = re.search(r"expr: >-\n(.*?)\n +(?:for|labels):", part, re.DOTALL)
        found[part.split()[0]] = " ".join(expression.group(1).split())
    return found


def listed():
    """Every metric family with its kind, from the table that a Rust test holds to what a server really answers."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    return dict(rows)


def families():
    """The names by which they are asked for."""
    parts = ("bucket", "sum", "count")
    histograms = [name for name, kind in listed().items() if kind == "histogram"]
    return set(listed()) | {f"{name}_{part}" for name in histograms for part in parts}


def unseen(texts):
    """The families that none of the dashboards shows."""
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for text in texts for name in FAMILY.findall(text)}
    return sorted(set(listed()) - shown)


def unknown(text, known):
    """The families that a text names and no server has."""
    named = set(FAMILY.findall(text))
    return sorted(
        name for name in named - known if not (name.endswith("_") and any(one.startswith(name) for one in known))
    )


def judge(command, log):
    """Whether promtool is content."""
    return tools.run([promtool(), *command], log) == 0


def runbook_faults(names, texts):
    """What is wrong with the runbooks."""
    faults = [f"{name} has no runbook" for name in sorted(names - set(texts))]
    faults += [f"the runbook {name} belongs to no alert" for name in sorted(set(texts) - names)]
    for name, text in texts.items():
        if not text.startswith(f"# {name}\n"):
            faults.append(f"the runbook {name} has another heading")
        faults += [f"the runbook {name} lacks {section}" for section in SECTIONS if section not in text]
    return faults


def runbooks():
    """The text of each runbook."""
    return {path.stem: path.read_text() for path in RUNBOOKS.glob("*.md")}


def number(value):
    """A number without an exponent."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def scraped(text):
    """The kinds of the families and the values of the series in a scrape."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    series = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
        series[f"{name}{{{labels + ',' if labels else ''}{ONE_NODE}}}"] = float(value)
    return kinds, series


def rises(series, kinds):
    """Whether the value of a series only rises, as those of counters and histograms."""
    name = series.split("{", 1)[0]
    return kinds.get(name) == "counter" or kinds.get(re.sub(r"_(bucket|sum|count)$", "", name)) == "histogram"


def course(values, rising, after):
    """The values of one series over time as promtool reads them; None is a scrape that did not have it."""
    seen, parts = False, []
    for value in values:
        parts.append(number(value) if value is not None else "stale" if seen else "_")
        seen = seen or value is not None
    last = values[-1]
    if last is None:
        parts.append(f"_x{HELD}")
        end = 0.0
    else:
        before = values[-2] if len(values) > 1 else None
        step = max(last - before, 0.0) if rising and before is not None else 0.0
        parts[-1] = f"{number(last)}+{number(step)}x{HELD}"
        end = last + step * HELD
    if after is not None:
        parts.append(f"{number(end if rising and last is not None else after)}+0x{OVER}")
    return " ".join(parts)


def input_series(scrapes, resolved):
    """Promtool's input for the scrapes of one node."""
    read = [scraped(text) for text in scrapes]
    kinds = {name: kind for known, _ in read for name, kind in known.items()}
    up = [float(bool(text.strip())) for text in scrapes]
    table = {f"up{{{ONE_NODE}}}": (up, None if resolved is None else float(bool(resolved.strip())))}
    after = scraped(resolved)[1] if resolved is not None else {}
    for name in {name for _, series in read for name in series}:
        table[name] = ([series.get(name) for _, series in read], after.get(name))
    return [
        {"series": name, "values": course(values, rises(name, kinds), end)} for name, (values, end) in table.items()
    ]


def firing(alert, seconds, yes):
    """What promtool is to find: whether an alert fires at a moment."""
    which = f'alertname="{alert}",' if alert else ""
    return {
        "expr": f'count(ALERTS{{{which}alertstate="firing"}}) > bool 0',
        "eval_time": f"{seconds}s",
        "exp_samples": [{"labels": "{}", "value": 1}] if yes else [],
    }


def well(text):
    """Whether a scrape is of a node that lacks nothing: some tests cause one thing while another is not over yet."""
    _, series = scraped(text)
    values = {name.split("{", 1)[0]: value for name, value in series.items()}
    return all(values.get(name) == 1 for name in IN_REACH) and all(values.get(name) == 0 for name in LACKING)


def questions(alert, scrapes, resolved):
    """The test of one alert on its samples."""
    held = (len(scrapes) + HELD - 1) * INTERVAL
    caused = {
        "name": f"{alert} fires under its cause",
        "interval": f"{INTERVAL}s",
        "input_series": input_series(scrapes, resolved),
        "promql_expr_test": [firing(alert, held, True)],
    }
    if resolved is not None:
        caused["promql_expr_test"].append(firing(alert, held + OVER * INTERVAL, False))
    healthy = {
        "name": f"{alert} is quiet before its cause, and so is everything else if the node is well",
        "interval": f"{INTERVAL}s",
        "input_series": input_series(scrapes[:1], None),
        "promql_expr_test": [firing(None if well(scrapes[0]) else alert, HELD * INTERVAL, False)],
    }
    return {"rule_files": [str(RULES)], "evaluation_interval": f"{LOOK}s", "tests": [healthy, caused]}


def sampled(alert, folder, log):
    """Whether an alert fires on its samples and not before; None if there are none."""
    paths = sorted(folder.glob(f"{alert}.[0-9]*.prom"), key=lambda path: int(path.name.split(".")[-2]))
    if len(paths) < 2:
        return None
    resolved = folder / f"{alert}.resolved.prom"
    test = folder / f"{alert}.test.json"
    told = resolved.read_text() if resolved.exists() else None
    test.write_text(json.dumps(questions(alert, [path.read_text() for path in paths], told), indent=1))
    return judge(["test", "rules", test], log)


def on_samples(names, log):
    """Each alert on the samples of real nodes."""
    with ThreadPoolExecutor(2) as pool:
        judged = dict(zip(names, pool.map(lambda alert: sampled(alert, SAMPLES, log), names), strict=True))
    for alert, held in judged.items():
        if held is None:
            log.write(f"{alert}: no samples in {SAMPLES}; the step rust writes them\n".encode())
    return {f"caused {alert}": bool(held) for alert, held in judged.items()}


def dashboard_faults(name, text, known):
    """What is wrong with a dashboard."""
    try:
        board = json.loads(text)
    except ValueError as error:
        return [f"{name}: {error}"]
    faults = []
    variables = {one["name"]: one for one in board["templating"]["list"]}
    if variables.get("datasource", {}).get("type") != "datasource":
        faults.append(f"{name}: no variable chooses the data source")
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    if len({panel["id"] for panel in board["panels"]}) != len(board["panels"]):
        faults.append(f"{name}: two panels have one id")
    for panel in panels:
        place = f"{name}: panel {panel.get('title')!r}"
        if not panel.get("title") or not panel.get("description"):
            faults.append(f"{place} has no title or no description")
        if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
            faults.append(f"{place} has no unit")
        if not panel.get("targets"):
            faults.append(f"{place} shows nothing")
        for target in panel.get("targets", ()):
            if target.get("datasource", {}).get("uid") != "${datasource}":
                faults.append(f"{place} asks a data source of its own")
            faults += [f"{place} names {one}, which no server has" for one in unknown(target["expr"], known)]
    return faults


def expressions(boards):
    """The expressions of all dashboards as rules, so that promtool reads them."""
    rules = []
    for text in boards.values():
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
                rules.append({"record": f"panel:{len(rules)}", "expr": expression})
    return json.dumps({"groups": [{"name": "panels", "rules": rules}]})


def boards():
    """The text of each dashboard."""
    return {path.name: path.read_text() for path in sorted((CHART / "dashboards").glob("*.json"))}


def dashboards(known, log):
    """Every dashboard."""
    results, texts = {}, boards()
    for name, text in texts.items():
        faults = dashboard_faults(name, text, known)
        log.write("".join(f"{fault}\n" for fault in faults).encode())
        results[f"dashboard {name}"] = not faults
    log.write("".join(f"no dashboard shows {name}\n" for name in unseen(texts.values())).encode())
    results["every metric is on a dashboard"] = not unseen(texts.values())
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "panels.json"
        rules.write_text(expressions(texts))
        results["expressions of the dashboards"] = bool(texts) and judge(["check", "rules", rules], log)
    return results


def scrape(held):
    """A small scrape with so many rooms held."""
    return f'# TYPE natter_rooms_held gauge\nnatter_rooms_held {held}\nnatter_build_info{{version="0"}} 1\n'


def on_spoilt_samples(log):
    """That samples are judged: rooms held in each scrape and after it, and whether that shows what it should."""
    cases = {
        "samples that fire and resolve": ((0, 3, 0), True),
        "samples that never resolve": ((0, 3, 3), False),
        "samples that don't fire": ((0, 0, 0), False),
        "samples that fire before the cause": ((3, 3, 0), False),
    }
    results = {}
    for name, (held, right) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            for part, value in zip(("0", "1", "resolved"), held, strict=True):
                (Path(folder) / f"NatterRoomsHeld.{part}.prom").write_text(scrape(value))
            results[name] = sampled("NatterRoomsHeld", Path(folder), log) is right
    return results


def spoilt(names, known, log):
    """That each of these checks can fail: every one gets something that is wrong."""
    texts = runbooks()
    first = next(iter(texts))
    board = next(iter(boards().values()))
    results = on_spoilt_samples(log)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "rules.yaml").write_text(RULES.read_text().replace("rate(", "rat(", 1))
        (home / "invented.yaml").write_text(
            (INVENTED / "cluster.yaml")
            .read_text()
            .replace("0+0x40 7+0x100", "0+0x40 0+0x100")
            .replace("../../", f"{ROOT}/")
        )
        results["rules that can't be read"] = not judge(["check", "rules", home / "rules.yaml"], log)
        results["a cause that does not come"] = not judge(["test", "rules", home / "invented.yaml"], log)
    results["an alert without a runbook"] = bool(runbook_faults(names | {"NatterNew"}, texts))
    results["a runbook without a section"] = bool(runbook_faults(names, {**texts, first: f"# {first}\n"}))
    results["a metric that no dashboard shows"] = bool(unseen([board]))
    results["a family that no server has"] = unknown("rate(natter_conections[5m])", known) == ["natter_conections"]
    for what, old, new in (
        ("without a unit", '"unit"', '"unti"'),
        ("without a description", '"description"', '"descripton"'),
        ("with another family", "natter_connections", "natter_conections"),
    ):
        results[f"a dashboard {what}"] = bool(dashboard_faults("spoilt", board.replace(old, new), known))
    return {f"notice {name}": held for name, held in results.items()}


def check(log):
    """Every check; each with whether it held."""
    found, known = alerts(), families()
    names = set(found)
    results = {"rules": judge(["check", "rules", RULES], log)}
    for path in sorted(INVENTED.glob("*.yaml")):
        results[f"invented series {path.stem}"] = judge(["test", "rules", path], log)
    tested = "".join(path.read_text() for path in INVENTED.glob("*.yaml"))
    for alert, expression in found.items():
        strangers = unknown(expression, known)
        log.write("".join(f"{alert} names {one}, which no server has\n" for one in strangers).encode())
        results[f"alert {alert}"] = not strangers and tested.count(f"alertname: {alert}\n") == 1
    texts = runbooks()
    faults = runbook_faults(names, texts)
    faults += [f"the runbook {name} names {one}" for name, text in texts.items() for one in unknown(text, known)]
    log.write("".join(f"{fault}\n" for fault in faults).encode())
    results["runbooks"] = not faults
    return {**results, **dashboards(known, log), **on_samples(found, log), **spoilt(names, known, log)}
