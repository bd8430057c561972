"""Programs written in Go that no package brings: built once into `.services/go/`, pinned in `scripts/versions`.

Each has a Go module of its own there that requires just that version. What it depends on follows from its own go.mod,
and the checksum database vouches for all of it. Building takes minutes, so only `make test-full` and `scripts/kwok`
come here.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import tools

HOME = tools.SERVICES / "go"
# Nothing of the user's own settings has a say.
ENVIRONMENT = {"GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


@dataclass
class Source:
    """Where a program comes from: its module, the package in it, and what the module's own go.mod replaces."""

    module: str
    package: str
    replaces: tuple = ()
    flags: tuple = ()


KUBERNETES = "k8s.io/kubernetes"


def kubernetes(program):
    """A program of Kubernetes itself."""
    return Source(KUBERNETES, f"{KUBERNETES}/cmd/{program}")


PROGRAMS = {
    "kube-score": Source("github.com/zegl/kube-score", "github.com/zegl/kube-score/cmd/kube-score"),
    "kubeconform": Source("github.com/yannh/kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
    "helm-unittest": Source(
        "github.com/helm-unittest/helm-unittest",
        "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
        ("github.com/vmware-labs/yaml-jsonpath v0.3.2 => github.com/helm-unittest/yaml-jsonpath v0.4.0",),
    ),
    "helm": Source("helm.sh/helm/v4", "helm.sh/helm/v4/cmd/helm"),
    "kwok": Source("sigs.k8s.io/kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    "kwokctl": Source("sigs.k8s.io/kwok", "sigs.k8s.io/kwok/cmd/kwokctl"),
    "etcd": Source("go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": kubernetes("kube-apiserver"),
    "kube-controller-manager": kubernetes("kube-controller-manager"),
    "kube-scheduler": kubernetes("kube-scheduler"),
}


def version_of(program):
    """The pinned version, with the v that Go's module versions have."""
    source = PROGRAMS[program]
    return f"v{tools.pinned('kubernetes' if source.module == KUBERNETES else program.removesuffix('ctl'))}"


def fetched(module, version):
    """Where a module and its description are after fetching them."""
    HOME.mkdir(parents=True, exist_ok=True)
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    env = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HOME, env=env)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}`: {done.stderr}{done.stdout}")
    return json.loads(done.stdout)


def module(name, version):
    """The files of a module."""
    return Path(fetched(name, f"v{version}")["Dir"])


def described(name, version):
    """What the module's own go.mod says."""
    command = ["go", "mod", "edit", "-json", fetched(name, version)["GoMod"]]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def staging(version):
    """Kubernetes' own libraries are in its repository; outside of it they have versions that begin with v0."""
    same = f"v0{version[2:]}"
    own = [line["Old"]["Path"] for line in described(KUBERNETES, version).get("Replace") or ()]
    return [f"{module} => {module} {same}" for module in own]


def told_version(version):
    """Linker flags by which Kubernetes knows its version; without them it says v0.0.0, which no chart accepts."""
    major, minor = version[1:].split(".")[:2]
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in facts.items())


def go_tool(program, log=None):
    """The path of a program, built if this version isn't there."""
    source, version = PROGRAMS[program], version_of(program)
    # `kwokctl` shares its module with `kwok`, and the programs of Kubernetes share theirs.
    home = HOME / f"{'kubernetes' if source.module == KUBERNETES else program.removesuffix('ctl')}-{version}"
    path = home / "bin" / program
    if path.exists():
        return path
    if not shutil.which("go"):
        raise tools.Missing(f"{program} is built with Go, and there is no go on PATH; install Go 1.26 or newer")
    home.mkdir(parents=True, exist_ok=True)
    kube = source.module == KUBERNETES
    replaces = staging(version) if kube else source.replaces
    lines = [f"module natter.invalid/{program}", "go 1.24", f"require {source.module} {version}"]
    (home / "go.mod").write_text("\n".join(lines + [f"replace {line}" for line in replaces]) + "\n")
    # Symbols and debugging data double the size and the time of linking.
    linked = f"-s -w {told_version(version)}" if kube else "-s -w"
    command = ["nice", "-n", "15", "go", "build", "-mod=mod", "-trimpath", "-ldflags", linked]
    tools.need([*command, "-o", path, source.package], log, ENVIRONMENT, cwd=home)
    return path
