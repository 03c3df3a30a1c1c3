"""The report in a real browser: nothing on the console, nothing that keeps anybody out."""

from __future__ import annotations

import json
import re
import struct
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cascade.ledger import Ledger
from cascade.report.gathering import figures_of
from cascade.report.page import page
from tests.report.chromium import Chromium
from tests.report.week import record_week

DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"
AUDIT = """
<script>
axe.run({resultTypes: ["violations"]}).then(found => {
  const kept = found.violations.map(v => [v.impact, v.id, v.nodes[0].html.slice(0, 200)]);
  const where = document.createElement("pre");
  where.id = "axe";
  where.textContent = JSON.stringify({violations: kept, passes: found.passes.length});
  document.body.append(where);
});
</script>
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a week of 2,000 calls."""
    folder = tmp_path_factory.mktemp("report")
    address = f"sqlite:{folder / 'week.db'}"
    ledger = Ledger(address)
    record_week(ledger, 2000)
    assert ledger.close()
    with Ledger.open_for_reading(address) as reader:
        (folder / "report.html").write_text(page(figures_of(reader)), encoding="utf-8")
    return folder / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Chromium:
    return Chromium(tmp_path_factory.mktemp("profile"))


def audited(chromium: Chromium, report: Path, *options: str) -> dict[str, Any]:
    """What axe-core finds in the page. The page itself allows no script, so a copy does."""
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    text = report.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = report.with_name("audited.html")
    copy.write_text(text.replace("</body>", f"<script>{axe}</script>{AUDIT}</body>"), "utf-8")
    dom, _ = chromium.dom(copy, *options)
    said = re.search(r'<pre id="axe">(.*?)</pre>', dom, re.DOTALL)
    assert said is not None, "axe-core did not finish"
    found: dict[str, Any] = json.loads(unescape(said[1]))
    return found


def test_nothing_is_said_on_the_console(chromium: Chromium, report: Path) -> None:
    dom, console = chromium.dom(report)
    assert console == []
    assert "Cost per request" in dom
    assert "</html>" in dom


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_axe_finds_no_serious_fault(chromium: Chromium, report: Path, scheme: str) -> None:
    found = audited(chromium, report, scheme, "--window-size=1200,1400")
    grave = [one for one in found["violations"] if one[0] in ("serious", "critical")]
    assert grave == []


def test_a_script_in_the_copy_would_be_seen_to_fail(chromium: Chromium, report: Path) -> None:
    """That the check above can fail: a picture without a word for it is a fault."""
    text = report.read_text(encoding="utf-8")
    broken = report.with_name("broken.html")
    broken.write_text(text.replace("</main>", '<img src="data:,"></main>'), "utf-8")
    found = audited(chromium, broken)
    assert ["critical", "image-alt"] in [one[:2] for one in found["violations"]]


@pytest.mark.parametrize("width", [500, 1200])
@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_it_is_drawn_in_both_themes_and_widths(
    chromium: Chromium, report: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    picture = chromium.screenshot(report, tmp_path / "page.png", width, scheme)
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24])[0] == width
    assert len(picture) > 20_000  # not an empty page


def test_on_a_phone_neither_the_page_nor_a_table_is_wider_than_the_screen(
    chromium: Chromium, report: Path
) -> None:
    """Chromium's own windows are never narrower than 500, so the page is in a frame."""
    frame = report.with_name("phone.html")
    frame.write_text(
        f'<iframe id="f" src="{report.name}" style="width:390px;height:800px;border:0"></iframe>'
        "<script>onload = () => { const page = f.contentDocument;"
        'const wide = [page.documentElement, ...page.querySelectorAll(".scroll")]'
        ".filter(one => one.scrollWidth > one.clientWidth)"
        '.map(one => one.ariaLabel ?? "the page");'
        'const seen = page.querySelectorAll("table").length;'
        "document.title = JSON.stringify([seen, wide]); }</script>",
        encoding="utf-8",
    )
    dom, _ = chromium.dom(frame, "--allow-file-access-from-files")
    said = re.search(r"<title>(.*)</title>", dom)
    assert said is not None
    seen, wide = json.loads(unescape(said[1]))
    assert wide == []
    assert seen > 10
