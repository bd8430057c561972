"""Apache Cassandra as the CQL server of tests: from its Maven artefacts, because that needs nothing but Java.

It is small on purpose (512 MB of heap, one compiler tier, tiny caches) and listens on the loopback only. A node by
itself is ready within seconds; three nodes at 127.0.0.1 to 127.0.0.3 share their ports, as the protocol wants it.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import tools

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
TOKENS = {1: [0], 3: [-9223372036854775808, -3074457345618258603, 3074457345618258602]}
# What Cassandra 5 runs on.
JAVA = range(11, 18)

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>natter</groupId>
  <artifactId>cassandra</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>{version}</version>
    </dependency>
  </dependencies>
</project>
"""

LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""

CONFIG = """cluster_name: natter
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
num_tokens: 1
initial_token: "{token}"
auto_bootstrap: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "127.0.0.1"
listen_address: {address}
rpc_address: {address}
storage_port: {storage}
native_transport_port: {native}
start_native_transport: true
data_file_directories: [{folder}/data]
commitlog_directory: {folder}/commitlog
saved_caches_directory: {folder}/caches
hints_directory: {folder}/hints
cdc_raw_directory: {folder}/cdc
{sync}
commitlog_segment_size: 5MiB
commitlog_total_space: 64MiB
auto_snapshot: false
memtable_allocation_type: heap_buffers
memtable_heap_space: 64MiB
disk_access_mode: standard
concurrent_reads: 4
concurrent_writes: 4
concurrent_counter_writes: 2
concurrent_compactors: 1
file_cache_size: 16MiB
key_cache_size: 1MiB
counter_cache_size: 1MiB
phi_convict_threshold: 6
"""

# When the commit log reaches the disk: every ten seconds is quicker; at once is for tests that kill the server, since an
# acknowledged write of the last moment may be lost with a process otherwise.
EASY = "commitlog_sync: periodic\ncommitlog_sync_period: 10s"
DURABLE = "commitlog_sync: batch"

# PEM files, so that no keystore is needed.
ENCRYPTED = """client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: {wanted}
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
  keystore: {tls}/server.pem
  truststore: {tls}/ca.pem
"""

EXPORTS = """java.base/jdk.internal.misc java.base/java.lang.ref java.management.rmi/com.sun.jmx.remote.internal.rmi
    java.management/com.sun.jmx.remote.security java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql
    jdk.unsupported/sun.misc jdk.compiler/com.sun.tools.javac.file jdk.attach/sun.tools.attach""".split()

OPENS = """java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.io
    java.base/java.net java.base/java.nio java.base/java.math java.base/java.nio.charset java.base/java.util
    java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/sun.nio.ch
    java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect
    java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar
    jdk.management/com.sun.management.internal jdk.compiler/com.sun.tools.javac java.rmi/sun.rmi.transport.tcp""".split()

PLAIN = """-da:net.openhft... -Xss256k -Xms512m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
    -XX:MaxDirectMemorySize=256m -Djava.net.preferIPv4Stack=true -Djdk.attach.allowAttachSelf=true
    -Dio.netty.tryReflectionSetAccessible=true -Dcassandra-foreground=yes -Dcassandra.load_ring_state=false
    -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=1000
    -Dcassandra.superuser_setup_delay_ms=0""".split()


def java():
    """The path of a Java that Cassandra runs on; one is installed if there is none."""
    for attempt in range(2):
        homes = [os.environ.get("JAVA_HOME", "/nowhere"), *sorted(map(str, Path("/usr/lib/jvm").glob("*")))]
        found = [shutil.which("java"), *(f"{home}/bin/java" for home in homes)]
        for path in found:
            if path and os.access(path, os.X_OK):
                text = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
                version = re.search(r'version "(\d+)', text)
                if version and int(version[1]) in JAVA:
                    return path
        if attempt == 0:
            tools.install("openjdk-17-jre-headless")
    raise tools.Missing("Cassandra 5 needs Java 11 to 17; install it with: sudo apt-get install openjdk-17-jre-headless")


def artefacts(log):
    """The folder of Cassandra's jars, fetched once."""
    home = tools.SERVICES / f"cassandra-{tools.pinned('cassandra')}"
    library = home / "lib"
    if not library.exists():
        maven = tools.system("mvn", "maven")
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "pom.xml").write_text(POM.format(version=tools.pinned("cassandra")))
        fetch = [maven, "-B", "-q", "-f", home / "pom.xml", COPY, "-DincludeScope=runtime"]
        tools.need([*fetch, f"-DoutputDirectory={home / 'lib.part'}"], log)
        (home / "lib.part").rename(library)
    return library


def node(folder, library, number, count, ports, sync=EASY, tls=None):
    """Writes a node's configuration; returns the command that runs it. `ports`: storage, native, one of JMX each.

    `tls` is a folder with `server.pem`, a key and its certificate, and `ca.pem`; a file `ask` there, and clients have
    to show a certificate too.
    """
    folder.mkdir(parents=True)
    storage, native, *jmx = ports
    address = f"127.0.0.{number + 1}"
    config = CONFIG.format(
        token=TOKENS[count][number], address=address, storage=storage, native=native, folder=folder, sync=sync
    )
    if tls is not None:
        config += ENCRYPTED.format(tls=tls, wanted=str((tls / "ask").exists()).lower())
    (folder / "cassandra.yaml").write_text(config)
    (folder / "logback.xml").write_text(LOGBACK)
    properties = {
        "cassandra.config": f"file://{folder}/cassandra.yaml",
        "cassandra.storagedir": folder,
        "cassandra.logdir": folder / "logs",
        "cassandra.jmx.local.port": jmx[number],
        "logback.configurationFile": f"file:{folder}/logback.xml",
    }
    return [
        java(),
        *PLAIN,
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        f"-javaagent:{next(library.glob('jamm-*.jar'))}",
        *(f"-D{key}={value}" for key, value in properties.items()),
        *("-cp", f"{library}/*"),
        "org.apache.cassandra.service.CassandraDaemon",
    ]
