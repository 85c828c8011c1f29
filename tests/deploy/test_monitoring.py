"""What Prometheus and Grafana are given: right by their own tools, and right about each other."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploylib import DOCKER, RULES, alerts, compose, dashboard, metrics_of, panels, queries
from lib import ROOT

UNITS = {"none", "short", "reqps", "ops", "wps", "s", "percentunit", "bytes", "Bps"}  # Grafana's names, of those used


def promtool(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (DOCKER / "prometheus" / "prometheus.yml").read_text()
    (tmp_path / "token").write_text("t")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/quiver_read_token", str(tmp_path / "token")))
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    assert f"{len(alerts())} rules found" in promtool("check", "config", tmp_path / "prometheus.yml")
    (job,) = yaml.safe_load(text)["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert port == "8000" and name in compose()["services"]


def test_every_alert_fires_in_its_test_and_not_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml", cwd=RULES.parent)
    tests = yaml.safe_load((RULES.parent / "rules_test.yml").read_text())["tests"]
    fired = {t["alertname"] for group in tests for t in group.get("alert_rule_test", []) if t["exp_alerts"]}
    assert fired == set(alerts())


def test_metrics_that_are_asked_for_are_in_the_table() -> None:
    known = set(re.findall(r'^[A-Z_]+\(\w+, "([a-z0-9_]+)"', (ROOT / "proxy/base/metrics.def").read_text(), re.M))
    for name, promql in {**queries(), **alerts()}.items():
        asked = {re.sub("_(bucket|count)$", "", m) for m in metrics_of(promql)}
        assert asked <= known or name == "QuiverAway", (name, asked - known)
        assert asked or "up{" in promql, name


def test_the_dashboard_knows_its_datasource() -> None:
    provisioned = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioned / "datasources" / "prometheus.yaml").read_text())["datasources"]
    named = {(d["type"], d["uid"]) for d in every("datasource", dashboard())}
    assert named == {(source["type"], source["uid"])}
    host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()
    assert host in compose()["services"] and port == "9090"
    pace = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == pace
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "quiver.yaml").read_text())["providers"]
    mounted = [v for v in compose()["services"]["grafana"]["volumes"] if v.startswith("./grafana/dashboards:")]
    assert mounted[0].split(":")[1] == provider["options"]["path"]
    home = compose()["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/quiver.json"


def every(key: str, value: Any) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in every(key, item)]
    if isinstance(value, dict):
        deeper = [found for item in value.values() for found in every(key, item)]
        return deeper + [value[key]] if key in value else deeper
    return []


def test_ids_are_unique_and_panels_do_not_overlap() -> None:
    all_panels = dashboard()["panels"]
    assert len({p["id"] for p in all_panels}) == len(all_panels)
    taken: dict[tuple[int, int], str] = {}
    for p in all_panels:
        at = p["gridPos"]
        assert at["x"] >= 0 and at["x"] + at["w"] <= 24, p["title"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{p['title']} lies on {taken[cell]}"
            taken[cell] = p["title"]
    height = max(y for _, y in taken) + 1
    assert len(taken) == 24 * height, "there are holes"


@pytest.mark.parametrize("panel", panels(), ids=lambda p: p["title"])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["type"] in ("stat", "timeseries") and defaults["unit"] in UNITS
    steps = defaults["thresholds"]["steps"]
    assert steps[0]["value"] is None and [s["value"] for s in steps[1:]] == sorted(s["value"] for s in steps[1:])
    assert [t["refId"] for t in panel["targets"]] == [chr(ord("A") + i) for i in range(len(panel["targets"]))]
    legends = [t["legendFormat"] for t in panel["targets"]]
    assert len(set(legends)) == len(legends)
    for target in panel["targets"]:
        labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        by = re.search(r"by \(([^)]*)\)", target["expr"])
        assert labels <= {name.strip() for name in (by[1] if by else "").split(",")}, target["legendFormat"]
    for override in panel["fieldConfig"]["overrides"]:
        wanted = override["matcher"]["options"].strip("/")
        assert any(re.match(wanted, legend) for legend in legends), wanted


def test_what_has_a_model_follows_the_variable() -> None:
    for name, promql in queries("CHOSEN").items():
        for metric in metrics_of(promql):
            if re.match("model_|cache_|optimization_", metric):
                assert f'{metric}{{model=~"CHOSEN"' in promql, name


def test_the_hit_rate_that_is_wanted_is_the_one_of_the_files() -> None:
    tuning = yaml.safe_load((ROOT / "conf" / "performance-tuning.yaml").read_text())["tuning"]
    (wanted,) = {t["target"]["hit_rate"] for t in tuning.values()}
    drawn = {
        step["value"]
        for p in panels()
        if p["title"].startswith("Hit rate")
        for step in p["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
    }
    assert drawn == {wanted}
