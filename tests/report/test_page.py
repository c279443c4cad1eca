"""The report in a real Chromium, from disk and without network; and texts of strangers that must stay texts."""

import json
import re
from pathlib import Path

import pytest
from called import ie_store
from planted_results import planted_model

from ie_store.report.html import embedded_json, table
from ie_store.report.words import WORDS

pytestmark = pytest.mark.slow

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
NASTY = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">\x1b[31m\u202e"
in_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: the page is not looked at in a browser")


def weaker(layer, position):
    from planted_results import exact_bits

    return exact_bits(layer, position) * (0.9 - 0.1 * layer)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of a model and of its twin with random weights."""
    folder = tmp_path_factory.mktemp("report")
    planted_model(str(folder / "store"), "a/c")
    planted_model(str(folder / "store"), "b/c", robust=weaker, random=True)
    result = ie_store("report", folder / "store", "-o", folder / "report.html")
    assert result.exit_code == 0, result.output
    assert str(folder / "report.html") in result.output
    return folder / "report.html"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A report of a dataset whose every text is markup and terminal codes."""
    folder = tmp_path_factory.mktemp("planted")
    made = planted_model(str(folder / "store"), id=NASTY, attention=NASTY, recipe=NASTY, revision=NASTY)
    plant_nasty_results(made)
    assert ie_store("report", folder / "store", "-o", folder / "report.html").exit_code == 0
    return folder / "report.html"


def plant_nasty_results(made):
    from planted_results import plant, plant_values

    from ie_store.estimators import estimator_spec
    from ie_store.specs import Outcome
    from ie_store.variables import Variable, piece

    own = Variable(name="own", dimensions=("layer",), long_name=NASTY, units=NASTY)
    plant(made, {"name": "own", "text": NASTY}, [piece(own, ((0,),), [0.5])])
    flags = {f"ie/3/{5}": (NASTY,)}
    plant_values(made, estimator_spec("infonce"), lambda b, t: 0.5, [(3, 5)], Outcome.SATURATED, flags=flags)


def test_the_file_is_small_and_complete(written):
    page = written.read_text()
    assert len(page.encode()) < 2_000_000
    assert "a/c keeps 5.4 bits at block 3; with random weights what is left falls to 3.6: training keeps 1.8 bits more" in page
    for title in ("Side by side", "Profile over layers", "Emergence over positions", "Readable tokens", "Robust information",
                  "Dimensions", "Spectra", "Provenance", "Words"):  # fmt: skip
        assert f">{title}</h2>" in page
    assert page.count("<figure") == page.count("Table: ") == page.count('data-save="png"') == 13
    assert "<td>5.30 to 5.50</td>" in page  # the interval of the last layer's value, in the table behind a picture


def test_texts_of_strangers_stay_texts(planted):
    page = planted.read_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page.replace("\t", ""))
    assert ">Variables of your own</h2>" in page
    own = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.S)
    assert "<img" not in own
    assert own.count("<script") == own.count("</script>")
    assert "&lt;/script&gt;&lt;script&gt;" in own
    assert "document.title=&#x27;broken" in own


def test_show_prints_them_as_visible_characters(planted):
    for options in ([], ["--csv"], ["--json"], ["--estimator", "infonce"]):
        shown = ie_store("show", planted.parent / "store", "model/corpus", *options)
        assert shown.exit_code == 0
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown.stdout)


def test_json_in_a_page_ends_no_element():
    text = embedded_json({NASTY: [NASTY, 1.5, None]})
    assert "<" not in text
    assert "\x1b" not in text
    (key, values), *_ = json.loads(text).items()
    assert key.startswith("</script>")
    assert values[1:] == [1.5, None]
    assert "<script" not in table([NASTY], [[NASTY]], NASTY)


def test_the_words_are_those_of_the_glossary():
    glossary = (Path(__file__).parents[2] / "docs/glossary.md").read_text()
    for word, meaning in WORDS.items():
        assert f"| {word} | {meaning} |" in glossary


def test_what_cannot_be_reported_is_said(tmp_path, written):
    from made_store import make

    made = make(tmp_path / "store").write()
    nothing = ie_store("report", made.store, "-o", tmp_path / "report.html")
    assert nothing.exit_code == 2
    assert "has no dataset with estimates; make some with: ie-store estimate" in nothing.output
    nowhere = ie_store("report", written.parent / "store", "a/c", "-o", tmp_path / "no" / "report.html")
    assert nowhere.exit_code == 2
    assert "is not a folder" in nowhere.output
    assert not (tmp_path / "report.html").exists()


def test_one_dataset_alone_has_no_side_by_side(written, tmp_path):
    result = ie_store("report", written.parent / "store", "a/c", "-o", tmp_path / "one.html")
    assert result.exit_code == 0
    page = (tmp_path / "one.html").read_text()
    assert "Side by side" not in page
    assert "Variables of your own" not in page
    assert page.count("<figure") == 6


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not looked at in a browser")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield found
        found.close()


class Visit:
    """A page that was opened from disk, with what it said and asked for."""

    def __init__(self, browser, path, scheme="light", width=1600):
        self.context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, accept_downloads=True)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def draw_all(self):
        frames = self.page.locator(".picture")
        for number in range(frames.count()):
            frames.nth(number).scroll_into_view_if_needed()
            frames.nth(number).locator("svg").first.wait_for(timeout=60_000)
        return frames.count()


@in_chromium
@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 1600), ("light", 360), ("dark", 360)])
def test_every_picture_is_drawn_without_an_error_or_a_request(browser, written, scheme, width):
    visit = Visit(browser, written, scheme, width)
    assert visit.draw_all() == 13
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") == width  # nothing to scroll sideways
    wider = "[...document.querySelectorAll('.picture > svg')].filter(s => s.clientWidth > s.parentElement.clientWidth + 1).length"
    assert page.evaluate(wider) == 0
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")
    assert set(page.evaluate("[...document.querySelectorAll('.picture')].map(f => f.dataset.drawn)")) == {scheme}
    assert visit.said == []
    assert visit.asked == [written.as_uri()]
    visit.context.close()


@in_chromium
@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 360)])
def test_hover_shows_the_interval_and_outcome(browser, written, scheme, width):
    visit = Visit(browser, written, scheme, width)
    visit.draw_all()
    frame = visit.page.locator("#picture-profile-0")
    frame.scroll_into_view_if_needed()
    mark = frame.locator("path[aria-roledescription='point'][aria-label*='noise']").last
    mark.hover(force=True)
    shown = visit.page.locator("#vg-tooltip-element.visible")
    shown.wait_for()
    text = shown.inner_text()
    assert re.search(r"95% interval, bits\s*\d\.\d\d to \d\.\d\d", text)
    assert re.search(r"outcome\s*certified", text)
    box = shown.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    visit.context.close()


@in_chromium
def test_tables_and_files_by_keyboard(browser, written):
    visit = Visit(browser, written)
    page = visit.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    summary = page.locator("#profile ~ .side summary").first
    summary.focus()
    assert not page.locator("#profile ~ .side details").first.get_attribute("open")
    page.keyboard.press("Enter")
    assert page.locator("#profile ~ .side details").first.get_attribute("open") is not None
    for ending, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        button = page.locator(f"button[data-of='picture-profile-0'][data-save='{ending}']")
        button.focus()
        with page.expect_download() as waiting:
            page.keyboard.press("Enter")
        assert waiting.value.suggested_filename == f"profile-a-c.{ending}"
        assert Path(waiting.value.path()).read_bytes().startswith(start)
    assert visit.asked[0] == written.as_uri()
    assert all(url.startswith(("file:", "data:", "blob:")) for url in visit.asked)
    visit.context.close()


@in_chromium
def test_planted_scripts_do_not_run(browser, planted):
    visit = Visit(browser, planted)
    visit.draw_all()
    assert "broken" not in visit.page.title().split(":")[0]
    assert visit.page.evaluate("document.images.length") == 0
    assert visit.page.evaluate("document.scripts.length") == 3
    assert visit.said == []
    visit.context.close()


@in_chromium
def test_the_last_layer_has_a_tick_and_a_mark(browser, written):
    visit = Visit(browser, written)
    visit.draw_all()
    frame = visit.page.locator("#picture-profile-0")
    assert "4" in frame.locator("g[aria-label^='X-axis'] text").all_text_contents()
    assert frame.locator("path[aria-roledescription='point'][aria-label*='layer: 4']").count() == 2  # noise and decode
    visit.context.close()
