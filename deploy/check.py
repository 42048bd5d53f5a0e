"""Checks that no schema knows: what dashboards and alerts ask for exists, and manifests keep their promises."""

import json
import re
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent
SERVICES = ("archive", "exchange", "aggregator", "keyholder")
# Metrics as the services name them; a test of each service shows that it has them.
METRICS = {f"locus_{service}_{noun}" for service in SERVICES for noun in (
    "calls_total", "call_duration_seconds_bucket", "chain_final_block_number")}
METRICS.add("locus_keyholder_audit_entries_count")
problems = []


def check(condition, text):
    if not condition:
        problems.append(text)


def documents(path):
    return list(yaml.safe_load_all((HERE / path).read_text()))


def expressions():
    for group in yaml.safe_load((HERE / "prometheus/alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
            runbook = rule["annotations"].get("runbook")
            check(runbook is None or (HERE.parent / runbook).is_file(), f"{rule['alert']}: no runbook {runbook}")
    for panel in json.loads((HERE / "grafana/locus.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def check_metrics():
    for name, expression in expressions():
        for metric in re.findall(r"\blocus_[a-z_]+[a-z]\b(?!\.)", re.sub(r'"[^"]*"', "", expression)):
            check(metric in METRICS, f"{name}: there is no metric {metric}")
        for pattern in re.findall(r'__name__=~"([^"]*)"', expression):
            check(any(re.fullmatch(pattern, metric) for metric in METRICS), f"{name}: {pattern} matches no metric")


def check_targets():
    """Every way of scraping gives the labels that alerts and dashboards ask for."""
    jobs = {job for _, expression in expressions() for job in re.findall(r'job="([^"]*)"', expression)}
    for name in ("prometheus.yaml", "kubernetes.yaml"):
        scraped = documents(f"prometheus/{name}")[0]["scrape_configs"]
        check({scrape["job_name"] for scrape in scraped} == jobs, f"{name}: alerts ask for jobs {jobs}")
        for scrape in scraped:
            listed = [target.get("labels", {}) for target in scrape.get("static_configs", [])]
            found = {rule.get("target_label") for rule in scrape.get("relabel_configs", [])}
            is_labelled = all("service" in labels for labels in listed) if listed else "service" in found
            check(is_labelled, f"{name}: targets have no label service")


def check_pods():
    """kubernetes.yaml finds every pod, by its labels and its port."""
    for name in (*SERVICES, "cluster"):
        for document in documents(f"k8s/{name}.yaml"):
            if document["kind"] not in ("StatefulSet", "Deployment"):
                continue
            pod = document["spec"]["template"]
            what = f"{name}: {document['metadata']['name']}"
            labels = pod["metadata"]["labels"]
            check(labels.get("app.kubernetes.io/part-of") == "locus", f"{what} is no part of locus")
            check(labels.get("app.kubernetes.io/name") == document["metadata"]["name"], f"{what} has another name")
            ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
            check("observe" in ports, f"{what} cannot be scraped")


def check_manifests():
    for service in SERVICES:
        kinds = {document["kind"]: document for document in documents(f"k8s/{service}.yaml")}
        check(set(kinds) == {"Service", "PodDisruptionBudget", "NetworkPolicy", "StatefulSet"}, f"{service}: {set(kinds)}")
        pod = kinds["StatefulSet"]["spec"]["template"]
        labels = pod["metadata"]["labels"]
        for kind, selector in (
            ("Service", kinds["Service"]["spec"]["selector"]),
            ("PodDisruptionBudget", kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
            ("NetworkPolicy", kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]),
            ("StatefulSet", kinds["StatefulSet"]["spec"]["selector"]["matchLabels"]),
        ):
            check(selector.items() <= labels.items(), f"{service}: the {kind} selects other pods")
        check(kinds["StatefulSet"]["spec"]["replicas"] == 1, f"{service}: two processes on one database")
        for container in pod["spec"]["containers"]:
            for probe in ("livenessProbe", "readinessProbe"):
                check(probe in container, f"{service}: no {probe}")
            check("memory" in container["resources"]["limits"], f"{service}: no memory limit")
            security = container["securityContext"]
            check(security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], f"{service}: too much")
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            claims = {claim["metadata"]["name"] for claim in kinds["StatefulSet"]["spec"]["volumeClaimTemplates"]}
            given = {volume["name"] for volume in pod["spec"]["volumes"]} | claims
            check(mounted == given, f"{service}: volumes {given} and mounts {mounted}")
        check(pod["spec"]["securityContext"]["runAsNonRoot"], f"{service}: runs as root")


def check_compose():
    compose = yaml.safe_load((HERE / "compose/compose.yaml").read_text())
    for name, service in compose["services"].items():
        if "build" in service:
            check(service["read_only"] and service["cap_drop"] == ["ALL"], f"compose {name}: too much")
            check("mem_limit" in service, f"compose {name}: no memory limit")
        for port in service.get("ports", []):
            check(port.startswith("127.0.0.1:"), f"compose {name}: {port} is open to other hosts")


check_metrics()
check_targets()
check_pods()
check_manifests()
check_compose()
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(1 if problems else 0)
