"""The report in a real browser: contents, charts, tables, figures, without scripts, for a screen reader."""

import csv
import io

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from clipcap_lib.files import read_json, write_json
from clipcap_lib.reporting.runs_page import write_runs_page

pytestmark = pytest.mark.notebooks
SERIOUS = {"serious", "critical"}


@pytest.fixture
def report(reports, watched) -> Page:
    """The page of the tiny report; it is told at the end what went wrong on it."""
    page, wrong = watched
    page.goto((reports / "emoji-tiny/index.html").as_uri())
    page.locator("#curves svg.marks").wait_for()
    yield page
    assert wrong == []


def test_contents_and_scroll_position_agree(report):
    report.get_by_role("navigation", name="Contents").get_by_role("link", name="Loss against time").click()
    expect(report.locator("nav a[aria-current]")).to_have_text("Loss against time")
    assert 0 <= report.get_by_role("heading", name="Loss against time").bounding_box()["y"] < 200
    report.evaluate("window.scrollTo(0, 0)")
    report.wait_for_function("document.querySelector('nav a[aria-current]').innerText === 'Answers'")


def lines(page: Page) -> int:
    return page.locator("#curves .mark-line path").count()


def test_curves_answer_to_their_controls(report):
    everything = lines(report)
    report.get_by_role("group", name="runs").get_by_role("checkbox").first.uncheck()
    report.wait_for_function(f"document.querySelectorAll('#curves .mark-line path').length < {everything}")
    report.get_by_role("group", name="runs").get_by_role("checkbox").first.check()
    report.wait_for_function(f"document.querySelectorAll('#curves .mark-line path').length === {everything}")
    report.locator("#curves input[type=radio][value=dev]").check()
    report.wait_for_function(f"document.querySelectorAll('#curves .mark-line path').length < {everything}")
    before = report.locator("#curves svg.marks").inner_html()
    report.locator("#curves input[type=radio][value=seconds]").check()
    report.locator("#curves input[type=checkbox]").uncheck()
    report.wait_for_function("before => document.querySelector('#curves svg.marks').innerHTML !== before", arg=before)


def test_a_point_of_a_curve_tells_its_run(report):
    report.locator("#curves .mark-symbol path").last.hover(force=True)
    told = report.locator("#vg-tooltip-element")
    expect(told).to_contain_text("bert")
    assert "undefined" not in told.inner_text()


def test_a_table_sorts_and_copies_as_csv(report):
    table = report.locator("main table").filter(has_text="trained parameters").first
    column = table.locator("thead th").all_inner_texts().index("trained parameters")
    cells = table.locator(f"tbody tr > :nth-child({column + 1})")
    counts = sorted(int(text.replace(",", "")) for text in cells.all_inner_texts())
    for wanted in (counts, counts[::-1]):
        table.get_by_role("button", name="trained parameters").click()
        assert [int(text.replace(",", "")) for text in cells.all_inner_texts()] == wanted
    report.context.grant_permissions(["clipboard-read", "clipboard-write"])
    report.evaluate("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
    table.locator("xpath=ancestor::div[1]/preceding-sibling::button[@class='copy']").first.click()
    rows = list(csv.reader(io.StringIO(report.evaluate("window.copied"))))
    assert len(rows) == len(counts) + 1
    assert [int(row[column].replace(",", "")) for row in rows[1:]] == counts[::-1]


def test_a_figure_opens_large_and_gives_its_numbers(report):
    figure = report.locator(".part figure").filter(has=report.get_by_alt_text("Figure: Loss against images seen"))
    with report.expect_download() as download:
        figure.get_by_role("link", name="data (CSV)").click()
    table = download.value.path().read_text(encoding="utf-8").splitlines()
    assert table[0] == "panel,series,x,y" and len(table) > 20
    figure.get_by_role("button").focus()
    report.keyboard.press("Enter")
    large = report.get_by_role("dialog")
    expect(large.get_by_alt_text("Figure: Loss against images seen")).to_be_visible()
    report.keyboard.press("Escape")
    expect(large).to_be_hidden()


@pytest.mark.parametrize(
    "name", ["emoji-tiny/index.html", "index.html", "runs.html", "emoji-tiny/runs/mlp-full-s0/notebook.html"]
)
def test_no_serious_fault_of_accessibility(reports, watched, name):
    page, wrong = watched
    page.goto((reports / name).as_uri())
    page.wait_for_load_state()
    found = Axe().run(page).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in SERIOUS] == []
    assert wrong == []


def test_the_page_reads_without_scripts(reports, browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((reports / "emoji-tiny/index.html").as_uri())
    assert page.get_by_alt_text("Loss curves of the runs against images seen").is_visible()
    assert not page.locator("#curves").is_visible()
    assert page.get_by_role("heading", name="Loss against time").is_visible()
    page.close()


def test_500_runs_sort_filter_and_group(reports, watched, tmp_path):
    page, wrong = watched
    source = reports / "emoji-tiny/runs/mlp-full-s0"
    params, summary, origin = (read_json(source / f"{name}.json") for name in ("params", "summary", "provenance"))
    for number in range(500):
        rate, seed = (1 + number // 5) / 1000, number % 5
        folder = tmp_path / "sweep" / "runs" / f"mlp-full-s{seed}-learning_rate={rate}"
        folder.mkdir(parents=True)
        write_json(folder / "params.json", params | {"learning_rate": rate, "seed": seed})
        write_json(folder / "summary.json", summary | {"best_dev_loss": rate + seed / 10_000})
        write_json(folder / "provenance.json", origin)
        (folder / "DONE").touch()
    page.goto(write_runs_page(tmp_path).as_uri())
    rows, count = page.locator("#runs tbody tr"), page.locator("#count")
    expect(rows).to_have_count(500)
    page.get_by_role("button", name="best dev loss").click()
    expect(rows.first).to_contain_text("0.001")
    page.get_by_label("show only").fill("seed=3 learning_rate<0.0105")
    expect(count).to_have_text("10 of 500 runs.")
    page.get_by_label("show only").fill("learning_rate=0.05")
    page.get_by_label("one row for each").select_option("*")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("0.0502 ± 0.0001581")  # 0.05, 0.0501 … 0.0504
    page.locator("#parallel svg.marks").wait_for()
    expect(page.locator("#parallel .mark-line path")).to_have_count(500)
    assert page.locator("#parallel svg.marks").bounding_box()["width"] > 900  # of 1280: it fills its place
    assert wrong == []
