"""What the set-up's files say, and a Prometheus that reads them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from lib import ROOT, free_port, request, wait_until

DOCKER = ROOT / "docker"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "quiver.json"
RULES = DOCKER / "prometheus" / "rules.yml"
INTERVAL, RANGE = "500ms", "5s"  # of scrapes; what the dashboard's rates look back


def dashboard() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text())


def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def panels() -> list[dict[str, Any]]:
    return [p for p in dashboard()["panels"] if p["type"] != "row"]


def queries(models: str = ".*") -> dict[str, str]:
    """'panel / legend' -> PromQL, as Grafana would send it; annotations too."""
    asked = {f"{p['title']} / {t['legendFormat']}": t["expr"] for p in panels() for t in p["targets"]}
    asked |= {f"annotation / {a['name']}": a["expr"] for a in dashboard()["annotations"]["list"]}
    return {name: q.replace("$__rate_interval", RANGE).replace("$model", models) for name, q in asked.items()}


def alerts() -> dict[str, str]:
    return {r["alert"]: r["expr"] for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"]}


def metrics_of(promql: str) -> set[str]:
    return set(re.findall(r"\b(?:quiver|model|cache|optimization)_[a-z0-9_]+\b", re.sub(r'"[^"]*"', "", promql)))


class Prometheus:
    """The one of Debian with the files of docker/prometheus; target, token and pace are the test's."""

    def __init__(self, folder: Path, target: str, token: Path):
        self.port = free_port()
        config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
        (job,) = config["scrape_configs"]
        assert job["authorization"] == {"credentials_file": "/run/secrets/quiver_read_token"}
        job["authorization"]["credentials_file"] = str(token)
        job["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(RULES, folder)
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"], stderr=self.log
        )
        wait_until(self.healthy, 20, "Prometheus is ready")

    def healthy(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            return request(self.port, "GET", "/-/ready").status == 200
        except OSError:
            return False

    def get(self, path: str) -> Any:
        answer = request(self.port, "GET", "/api/v1" + path)
        doc = json.loads(answer.body)
        assert answer.status == 200 and doc["status"] == "success", doc
        return doc["data"]

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        found = self.get("/query?query=" + quote(promql))["result"]
        return [(s["metric"], float(s["value"][1])) for s in found]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.log.close()
