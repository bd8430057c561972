"""Checks of the chart by tools that have to be built first, which takes minutes: they run with `make test-full`.

helm-unittest says what each template makes of its values, kube-score what an operator would object to, and kubeconform
judges custom resources as well, by the definitions of their own operators. helm 4 has to make of the chart what helm 3
makes of it.
"""

import json
import re
import shutil
import subprocess

import gotools
import kube
import kubevalues
import tools

# Where the definitions of custom resources come from: Go modules, their names in scripts/versions, and the files in them.
DEFINITIONS = {
    "sigs.k8s.io/gateway-api": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "github.com/external-secrets/external-secrets": ("config/crds/bases/external-secrets.io_externalsecrets.yaml",),
}
# What no module that is to be had defines: schemas of our own, of the parts that we use.
OWN_SCHEMAS = kube.ROOT / "tests" / "schemas"
# How kubeconform names a schema's file.
NAMED = "{{ .ResourceKind }}{{ .KindSuffix }}.json"
# What kube-score would have otherwise, and why it is not so.
SCORE_EXCEPTIONS = {
    "container-resources": "a limit of processor time throttles a server in the middle of a burst",
    "container-image-pull-policy": "tags are never moved, so what is there already is right",
    "pod-probes": "the smoke test runs once; the nodes' probes are tested by name",
    "statefulset-has-poddisruptionbudget": "the servers of the development cluster are for one laptop",
    "statefulset-has-host-podantiaffinity": "the same",
    "deployment-has-host-podantiaffinity": "topology spread constraints do it",
    "container-security-context-user-group-id": "the user and group stand at the pod, and are above 10000",
    "container-ephemeral-storage-request-and-limit": "the file system is read-only but for one folder with a bound of its own",
}


def definitions():
    """The files with the definitions of custom resources."""
    for name, paths in DEFINITIONS.items():
        home = gotools.module(name, tools.pinned(name.rsplit("/", 1)[-1]))
        yield from (home / path for path in paths)


def closed(schema):
    """A schema that refuses what it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def schemas(folder):
    """Writes the custom resources' schemas as kubeconform reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in definitions():
        for definition in kube.documents(path):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                name = f"{spec['names']['kind']}-{spec['group'].split('.')[0]}-{version['name']}.json".lower()
                (folder / name).write_text(json.dumps(schema))
    for path in OWN_SCHEMAS.glob("*.json"):
        shutil.copy(path, folder)


def builtin(folder, kinds, log):
    """Writes the schemas of Kubernetes' own objects: the other validator's, each with all that it refers to, so that
    nothing is looked for on the network."""
    python = tools.python_tool("kubernetes-validate", "python", log)
    home = next(python.parent.parent.glob("lib/python3*/site-packages/kubernetes_validate/kubernetes-json-schema"))
    for version in kube.KUBERNETES:
        source, target = home / f"v{version}.0-local-strict", folder / f"v{version}.0"
        target.mkdir(parents=True, exist_ok=True)
        shared = json.loads((source / "_definitions.json").read_text())["$defs"]
        for kind in kinds:
            for path in source.glob(f"{kind.lower()}-*.json"):
                schema = json.loads(path.read_text().replace("/api/_definitions.json#", "#"))
                schema.pop("$id")
                (target / path.name).write_text(json.dumps({**schema, "$defs": shared}))


def conform(made, log):
    """kubeconform over every manifest, and over one that is spoilt."""
    program = gotools.go_tool("kubeconform", log)
    home = kube.OUT / "schemas"
    schemas(home)
    builtin(home, {one["kind"] for path in made.values() for one in kube.documents(path)}, log)
    command = [program, "-strict", "-output", "json", "-verbose"]
    command += ["-schema-location", f"{home}/{{{{ .NormalizedKubernetesVersion }}}}/{NAMED}"]
    command += ["-schema-location", f"{home}/{NAMED}"]
    judged = {**made, "external secret": kube.ROOT / "k8s" / "overlays" / "production" / "external-secret.yaml"}
    judged["test run"] = kube.ROOT / "loadtest" / "testrun.yaml"
    chart_words = ("terminationGracePeriodSeconds", "jobLabel", "parentRefs")
    words = {word: judged["on-values"] for word in chart_words}
    words |= {"members": judged["overlays/development"], "parallelism": judged["test run"]}
    for word, path in words.items():
        judged[f"a misspelt {word}"] = kube.OUT / f"spoilt-{word}.yaml"
        judged[f"a misspelt {word}"].write_text(path.read_text().replace(f"{word}:", f"{word}x:"))
    results = {}
    for version in kube.KUBERNETES:
        # In one run: most of its time is reading the schemas.
        asked = [str(part) for part in (*command, "-kubernetes-version", f"{version}.0", *judged.values())]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        log.write(done.stderr.encode())
        found = json.loads(done.stdout)["resources"]
        for name, path in judged.items():
            of_it = [one for one in found if one["filename"] == str(path)]
            wrong = [one for one in of_it if one["status"] != "statusValid"]
            log.write("".join(f"{name} for {version}: {one['kind']}: {one['msg']}\n" for one in wrong).encode())
            held = bool(wrong) if name.startswith("a misspelt") else bool(of_it) and not wrong
            results[f"kubeconform {name} for {version}"] = held
    return results


def score(made, log):
    """kube-score over every manifest but those with everything off, and over one that is spoilt."""
    program = gotools.go_tool("kube-score", log)
    command = [program, "score", "--kubernetes-version", f"v{kube.KUBERNETES[-1]}", "--output-format", "ci"]
    command += [word for name in SCORE_EXCEPTIONS for word in ("--ignore-test", name)]
    results = {}
    for name, path in made.items():
        if name != "off-values":
            results[f"kube-score {name}"] = tools.run([*command, path], log) == 0
    spoilt = kube.OUT / "spoilt.yaml"
    spoilt.write_text(
        made["minimal-values"].read_text().replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    )
    results["notice a file system that can be written"] = tools.run([*command, spoilt], log) != 0
    return results


def unit(log):
    """helm-unittest: each test, and that a wrong expectation is seen."""
    program = gotools.go_tool("helm-unittest", log)
    asked = [str(program), "--strict", str(kube.CHART)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=kube.ROOT)
    log.write((done.stdout + done.stderr).encode())
    counts = re.search(
        r"^Tests:\s+(?:(\d+) failed, )?(?:\d+ errored, )?(\d+) passed, (\d+) total", done.stdout, re.MULTILINE
    )
    passed, total = (int(counts.group(2)), int(counts.group(3))) if counts else (0, 1)
    results = {f"unit test {number + 1} of {total}": number < passed for number in range(total)}
    results["unit tests"] = done.returncode == 0 and passed > 0
    suite = kube.CHART / "tests" / "deployment_test.yaml"
    spoilt = kube.OUT / "spoilt_test.yaml"
    text = suite.read_text().replace(
        "terminationGracePeriodSeconds, value: 72", "terminationGracePeriodSeconds, value: 73"
    )
    spoilt.write_text(text.replace("../ci/", f"{kube.CHART}/ci/"))
    results["notice a wrong expectation"] = tools.run([program, "--strict", "-f", spoilt, kube.CHART], log) == 1
    return results


def newest_helm(log):
    """helm 4: it lints the chart with every file of values, makes the same of it as helm 3, and refuses the same."""
    old, _, _ = kube.programs(log)
    new = gotools.go_tool("helm", log)
    results = {}
    for values in kube.values_files():
        lint = [new, "lint", kube.CHART, "--strict", "-f", values]
        results[f"helm 4 lints {values.stem}"] = tools.run(lint, log) == 0
        path = kube.template(old, values, log)
        before = kube.documents(path) if path else None
        path = kube.template(new, values, log)
        results[f"helm 4 makes the same of {values.stem}"] = bool(before) and kube.documents(path) == before
    return {**results, **{f"helm 4: {name}": held for name, held in kubevalues.by_hand(new, log).items()}}


def check(log):
    """Every check; each with whether it held."""
    made = kube.manifests(log)
    return {**unit(log), **score(made, log), **conform(made, log), **newest_helm(log)}
