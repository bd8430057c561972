"""What the chart has to refuse: every value with a wrong type, out of its bounds, or unknown, and what doesn't go together.

The wrong values are made from the schema itself, so a new value is covered by being there. helm names every fault of a
file at once, so each kind of fault is one run.
"""

import json
import subprocess

from tools import ROOT

CHART = ROOT / "helm" / "natter"
LEAST = CHART / "ci" / "minimal-values.yaml"
STRANGER = "nobody-knows-this"
HOST = "ingress.enabled=true,ingress.host=chat.example.org"
PROXIES = "trustedProxies[0]=10.0.0.0/8"
# Values that don't go together or that only a person would write, each with a part of what the chart says.
REFUSED = {
    "nothing given": ([], "store, channelLayer and sessions"),
    "a misspelt value": (["replicas=3"], "replicas"),
    "an unknown key of the configuration": (["config.registratoin=open"], "registratoin"),
    "a port of the chart's own": (["config.listen=0.0.0.0:80"], "listen"),
    "an address that is none": (["store.address=localhost:9042"], "address"),
    "a password in plain sight": (["sessions.address=redis://:secret@redis:6379"], "existingSecret"),
    "an address twice": (["store.existingSecret=addresses"], "not both"),
    "an ingress for no host": (["ingress.enabled=true"], "ingress.host"),
    "an ingress that may not come in": ([HOST, PROXIES], "networkPolicy.ingressFrom"),
    "an ingress whose word is not believed": ([HOST, "networkPolicy.enabled=false"], "trustedProxies"),
    "a balancer that may not come in": (["service.type=LoadBalancer"], "networkPolicy.ingressFrom"),
    "a rollout that can't begin": (["rollout.maxUnavailable=0,rollout.maxSurge=0"], "maxSurge"),
    "a name that is too long": ([f"fullnameOverride={'n' * 53}"], "fullnameOverride"),
    "a name that Kubernetes has not": (["nameOverride=Natter"], "nameOverride"),
    "a Prometheus that may not come in": (["metrics.serviceMonitor.enabled=true"], "networkPolicy.metricsFrom"),
    "a route without a gateway": (["gateway.enabled=true"], "gateway.parentRefs"),
    "a drain beyond its deadline": (["drain.windowSeconds=55"], "deadlineSeconds"),
    "a delay as long as the deadline": (["drain.delaySeconds=60,drain.windowSeconds=0"], "deadlineSeconds"),
    "more at least than at most": (
        ["autoscaling.enabled=true,autoscaling.minReplicas=9,autoscaling.maxReplicas=3"],
        "minReplicas",
    ),
    "an autoscaler without a measure": (
        [
            "autoscaling.enabled=true,autoscaling.connectionsPerPod=0,autoscaling.outboxBytesPerPod=0",
            "autoscaling.cpuUtilization=0",
        ],
        "autoscaling",
    ),
    "a smoke test that can't register": (["config.registration=closed"], "tests.username"),
}
# How a value of each type is wrong.
WRONG_TYPE = {
    "integer": "many",
    "number": "much",
    "string": 7,
    "boolean": "perhaps",
    "array": "none",
    "object": "none",
}


def walk(schema, path=()):
    """Every schema below this one with its path."""
    for name, part in schema.get("properties", {}).items():
        yield (*path, name), part
        yield from walk(part, (*path, name))


def wrong_type(part):
    """A value of a type that it must not have; None for groups of values, whose own values are tried."""
    if "properties" in part:
        return None
    if "type" not in part:
        return "invented"
    return True if isinstance(part["type"], list) else WRONG_TYPE[part["type"]]


def beyond(part):
    """A value of the right type out of its bounds; None if there are none."""
    if "properties" in part:
        return None
    if "minimum" in part:
        return part["minimum"] - 1
    if "pattern" in part:
        return "not / so !"
    if "enum" in part:
        return "invented"
    if part.get("minLength"):
        return ""
    if "maxLength" in part:
        return "x" * (part["maxLength"] + 1)
    rest = part.get("items") or part.get("additionalProperties")
    if not isinstance(rest, dict):
        return None
    item = wrong_type(rest) if "properties" not in rest else {STRANGER: 1}
    return [item] if part["type"] == "array" else {"key": item}


def above(part):
    """A value above its bound; None if there is none."""
    return part["maximum"] + 1 if "maximum" in part else None


def stranger(part):
    """For groups of values, one with a key that nobody knows."""
    return {STRANGER: 1} if "properties" in part else None


def values(schema, spoil):
    """Values that are wrong wherever they can be, and the paths of those."""
    made, paths = {}, []
    for path, part in walk(schema):
        wrong = spoil(part)
        if wrong is None:
            continue
        place = made
        for name in path[:-1]:
            place = place.setdefault(name, {})
        if isinstance(wrong, dict) and isinstance(place.get(path[-1]), dict):
            place[path[-1]].update(wrong)
        else:
            place[path[-1]] = wrong
        paths.append(".".join(path))
    return made, paths


def render(helm, options):
    """What helm says to values; whether it refused them."""
    command = [helm, "template", "natter", CHART, "--kube-version", "v1.37.0", *options]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.returncode != 0, done.stderr


def by_schema(helm, log, folder):
    """Each value of the schema, wrong in each way."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    results = {}
    for spoil in (wrong_type, beyond, above, stranger):
        made, paths = values(schema, spoil)
        path = folder / f"refused-{spoil.__name__}.json"
        path.write_text(json.dumps(made, indent=1))
        refused, said = render(helm, ["-f", LEAST, "-f", path])
        log.write(f"{spoil.__name__}: {said}\n".encode())
        lines = said.splitlines()
        for place in paths:
            # What is inside of a list or a map has a path of its own.
            begins = (f"- {place}:", f"- {place}.") if spoil is beyond else f"- {place}:"
            named = any(line.startswith(begins) for line in lines)
            results[f"refuse {spoil.__name__} {place}"] = refused and named
    results["refuse an unknown value"] = render(helm, ["-f", LEAST, "--set", f"{STRANGER}=1"])[0]
    return results


def by_hand(helm, log):
    """Each of the values above."""
    results = {}
    for name, (options, part) in REFUSED.items():
        least = ["-f", LEAST] if options else []
        refused, said = render(helm, [*least, *(word for option in options for word in ("--set", option))])
        log.write((said or f"{name}: nothing was refused\n").encode())
        results[f"refuse {name}"] = refused and part in said
    return results


def keys(log):
    """The configuration keys that the schema knows and the chart sets are those that the server has, and no others."""
    told = (ROOT / "docs" / "configuration.md").read_text()
    known = {line.split("`")[1] for line in told.splitlines() if line.startswith("| `") and "`NATTER_" in line}
    schema = json.loads((CHART / "values.schema.json").read_text())
    may = set(schema["properties"]["config"]["properties"])
    template = (CHART / "templates" / "_helpers.tpl").read_text()
    own = {key for key in known if f'"{key}"' in template}
    # Addresses come as variables from Secrets, and the copies of a new keyspace are for `migrate` alone.
    elsewhere = {"store", "channel-layer", "sessions", "cql-replication"}
    for what, strange in (("unknown to the server", may - known), ("not in the values", known - may - own - elsewhere)):
        log.write(f"keys {what}: {', '.join(sorted(strange)) or 'none'}\n".encode())
    return {"keys of the configuration": bool(known) and may <= known and known <= may | own | elsewhere}


def unused(log):
    """Values that the schema knows and no template asks for."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    texts = "".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    elsewhere = {"config", "global", "requests", "limits"}
    names = {path[-1] for path, _ in walk(schema) if path[0] not in elsewhere and path[-1] not in elsewhere}
    idle = sorted(name for name in names if f".{name}" not in texts)
    log.write(f"values that nothing asks for: {', '.join(idle) or 'none'}\n".encode())
    return idle


def check(helm, log, folder):
    """Every check; each with whether it held."""
    return {**by_hand(helm, log), **by_schema(helm, log, folder), **keys(log), "every value is used": not unused(log)}
