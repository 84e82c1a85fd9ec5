"""The chart is one that Helm has nothing to say against, and that holds what it must."""

from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, MAXIMAL, ROOT, helm


@pytest.mark.parametrize("values", [CHART / "values.yaml", MAXIMAL], ids=["default", "maximal"])
def test_lint_is_silent(values: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "-f", values)


def test_the_chart_and_the_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"]
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()


def test_the_chart_carries_the_generated_crds() -> None:
    generated = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert {path.name: path.read_text() for path in (CHART / "files" / "crds").glob("*")} == generated
    assert len(generated) >= 2


def test_a_packaged_chart_carries_everything(tmp_path: Path) -> None:
    helm("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    shown = helm("show", "all", package)
    assert "# workerpool-operator" in shown
    assert helm("template", "scaler", package, "--kube-version", "1.34.0") == helm(
        "template", "scaler", CHART, "--kube-version", "1.34.0"
    )
