"""The web page, as a person uses it, in a real browser."""

import gymnasium as gym
import numpy as np
import pytest
from browser import Page, chromium, psnr
from PIL import Image
from served import served, wait_until

from ctxmem_env.viewer.limits import Limits

pytestmark = pytest.mark.slow
# The accessible name of everything that can be used or that shows something.
UNNAMED = """
return [...document.querySelectorAll('button, select, input, canvas[role], [role=application]')]
  .filter((e) => !e.closest('[hidden]') && !e.getAttribute('aria-label') && !e.textContent.trim()
    && !(e.labels && [...e.labels].some((label) => label.textContent.trim())))
  .map((e) => e.outerHTML);
"""
# Text whose contrast with what is behind it is below 4.5, of WCAG's AA.
FAINT = """
const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
};
return [...document.querySelectorAll('body *')]
  .filter((e) => e.offsetParent && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .map((e) => [e, light(parse(getComputedStyle(e).color)), light(behind(e))])
  .map(([e, a, b]) => [e.outerHTML.slice(0, 80), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)])
  .filter(([, contrast]) => contrast < 4.5);
"""

# Edges of fields whose contrast with what is around them is below 3, of WCAG's AA.
EDGES = (
    FAINT[: FAINT.index("return [...")]
    + """
return [...document.querySelectorAll('select, input:not([type=file])')].filter((e) => e.offsetParent)
  .map((e) => [e, light(parse(getComputedStyle(e).borderTopColor)), light(behind(e.parentElement))])
  .map(([e, a, b]) => [e.name || e.id, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)])
  .filter(([, contrast]) => contrast < 3);
"""
)


@pytest.fixture(scope="module")
def server():
    with served("nano", Limits(visitors=3)) as serving:
        yield serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def driver(folder):
    with chromium(folder) as one:
        yield one


@pytest.fixture
def page(server, driver):
    wait_until(lambda: len(server.house.visitors) < 2, 30)
    one = Page(driver, server.address)
    yield one
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.get("about:blank")
    assert one.errors() == []


def choose(page, name, value):
    page.run(
        "const s = document.querySelector(`[name=${arguments[0]}]`); s.value = arguments[1];"
        "s.dispatchEvent(new Event('change', {bubbles: true}))",
        name,
        value,
    )


def test_keys_change_the_picture_and_coming_back_shows_the_place_again(page):
    # A world that is drawn may have the same plain wall all around.
    number = "const input = document.querySelector('[name=seed]'); input.value = '0'; input.form.requestSubmit()"
    page.opened(lambda: page.run(number))
    start = page.picture()
    page.press("q", 6)
    away = page.picture()
    page.press("e", 6)
    assert page.step == 12
    assert psnr(away, start) < 20
    assert psnr(page.picture(), start) > psnr(away, start) + 6
    assert int(page.find("#remembered").text) == 25
    shares = [text.split()[0] for text in page.find("#strip").text.splitlines() if "%" in text]
    assert len(shares) >= 3 and all(0 < int(share) <= 100 for share in shares)
    assert "yaw" in page.find("#where").text


def test_a_key_that_is_held_goes_on_and_one_that_is_let_go_stops(page):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page.driver, duration=0).key_down("a").perform()
    page.wait("return Number(document.body.dataset.step) >= 5")
    assert page.find("#fps").text.isdecimal()
    ActionChains(page.driver, duration=0).key_up("a").perform()
    steps = []
    wait_until(lambda: steps.append(page.step) or (len(set(steps[-40:])) == 1 and len(steps) > 40))


def test_dragging_turns_the_view_with_the_hand(page):
    from selenium.webdriver.common.action_chains import ActionChains

    screen = page.find("#screen")
    yaw = "return Number(document.getElementById('where').textContent.match(/yaw (-?\\d+)/)[1])"
    before, width = page.run(yaw), screen.size["width"]
    moves = ActionChains(page.driver, duration=50).move_to_element(screen).click_and_hold()
    for _ in range(4):
        moves.move_by_offset(width // 12, 0)  # a third of the view in all, which is 90 degrees wide
    moves.release().perform()
    page.wait("return Number(document.body.dataset.step) >= 2")
    wait_until(lambda: 26 <= (page.run(yaw) - before) % 360 <= 34)


def test_model_style_task_and_retrieval_are_chosen_while_it_runs(page):
    page.opened(lambda: choose(page, "style", "castle"))
    number = page.find("#source").text
    page.opened(lambda: choose(page, "task", "image_goal"))
    assert page.find("#source").text == number  # the same place
    assert "Find the place" in page.find("#task-text").text and page.find("#goal").is_displayed()
    assert "Distance" in page.find("#task-figures").text
    page.press("q")
    choose(page, "retrieval", "none")
    page.wait("return document.querySelector('[name=retrieval]').value === 'none'")
    step = page.step
    wait_until(lambda: page.press("q") or "%" not in page.find("#strip").text)
    assert page.step > step  # and the world went on
    page.opened(lambda: choose(page, "model", "nano"))


def test_a_photograph_is_uploaded_and_what_is_none_is_told(page, folder):
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[:, :60], picture[:, 60:] = (250, 20, 20), (20, 20, 250)
    Image.fromarray(picture).save(folder / "photo.jpg")
    page.opened(lambda: page.find("#photo-file").send_keys(str(folder / "photo.jpg")))
    assert page.find("#source").text == "a photograph"
    shown = page.picture()
    assert shown[:, :200, 0].mean() > 200 and shown[:, -200:, 2].mean() > 200
    (folder / "text.png").write_text("no picture")
    page.find("#photo-file").send_keys(str(folder / "text.png"))
    assert "not a picture that can be read" in page.alert()
    page.find(".alert button").click()
    page.press("q")
    assert page.driver.get_log("browser")  # the browser notes the refusal, too


def test_a_world_is_saved_and_loaded_and_a_video_downloaded(page, folder):
    page.press("q", 2)
    seen = page.picture()
    page.find("#save").click()
    world = folder / "downloads" / "world.ctxworld"
    wait_until(world.exists, 30)
    page.find("#video").click()
    video = folder / "downloads" / "walk.mp4"
    wait_until(video.exists, 60)
    assert video.read_bytes()[4:8] == b"ftyp"
    page.opened(lambda: choose(page, "style", "castle"))
    page.opened(lambda: page.find("#world-file").send_keys(str(world)))
    assert psnr(page.picture(), seen) > 40 and page.find("#source").text == "a saved world"


def test_a_phone_shows_everything_and_its_pad_walks(page):
    phone = {"width": 360, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    page.wait("return innerWidth === 360")
    assert page.run("return document.documentElement.scrollWidth") == 360
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone | {"width": 320})
    page.wait("return innerWidth === 320")
    assert page.run("return document.documentElement.scrollWidth") == 320  # as wide as WCAG asks for
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    page.wait("return innerWidth === 360")
    buttons = page.driver.find_elements("css selector", "button, select, input:not([type=file])")
    shown = [button for button in buttons if button.is_displayed()]
    assert len(shown) >= 15
    for button in shown:
        place = button.rect
        assert place["x"] >= 0 and place["x"] + place["width"] <= 360 and place["height"] >= 40, place
    forward = page.find(".pad button[aria-label=Forward]").rect
    assert forward["y"] + forward["height"] < 700  # without scrolling
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    left = page.find(".pad button[aria-label='Turn left']").rect
    point = {"x": left["x"] + left["width"] / 2, "y": left["y"] + left["height"] / 2}
    for kind, points in (("touchStart", [point]), ("touchEnd", [])):
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait("return Number(document.body.dataset.step) >= 1")
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_every_text_can_be_read(page, scheme):
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    assert page.run(UNNAMED) == []
    assert page.run(FAINT) == []
    assert page.run(EDGES) == []


def test_errors_waiting_and_success_are_announced_and_what_changes_at_every_step_is_not(page, folder):
    live = "return [...document.querySelectorAll('[role=alert], [role=status], [aria-live]')].map((e) => e.id)"
    assert page.run(live) == ["alerts", "veil", "bump", "task-text"]
    settings = {"actions": "continuous", "observation": "rgbd", "sliding": True, "memory_capacity": 256}
    env = gym.make("CtxMemScene-v0", task="point_goal", **settings).unwrapped
    x, y, _, yaw, *_ = env.reset(seed=0)[1]["pose"].tolist()
    env.reset(seed=0, options={"goal": (x + 0.4 * np.cos(yaw), y + 0.4 * np.sin(yaw))})  # reached within 0.3 m
    env.save(folder / "near.ctxworld")
    page.opened(lambda: page.find("#world-file").send_keys(str(folder / "near.ctxworld")))
    page.run(
        "window.told = []; const text = document.getElementById('task-text');"
        "new MutationObserver(() => told.push(text.textContent)).observe(text, { childList: true })"
    )
    page.press("e"), page.press("q")
    assert page.run("return told") == [] and "Go to the cross" in page.find("#task-text").text
    page.press("w", 2)
    assert page.run("return told") == ["You are there. New world opens the next one."]


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    reached = set()
    for _ in range(30):
        ActionChains(page.driver, duration=0).send_keys(Keys.TAB).perform()
        name, outline = page.run(
            "const e = document.activeElement; return [e.id || e.name || e.getAttribute('aria-label') || e.textContent,"
            " getComputedStyle(e).outlineStyle]"
        )
        reached.add(name)
        assert name == page.run("return document.body.textContent") or outline == "solid", name
    assert reached >= {"screen", "Forward", "model", "style", "task", "retrieval", "seed", "save", "load", "photo"}
    page.run("document.querySelector('.pad button').focus()")
    ActionChains(page.driver, duration=0).send_keys(Keys.ENTER).perform()
    page.wait("return Number(document.body.dataset.step) === 1")


def test_several_visitors_walk_in_worlds_of_their_own(page, server):
    other = page.driver.current_window_handle
    page.driver.switch_to.new_window("window")
    second = Page(page.driver, server.address)
    assert len(server.house.visitors) == 2
    second.press("q", 3)
    page.driver.close()
    page.driver.switch_to.window(other)
    assert page.step == 0
    page.press("w", 2)
    assert page.step == 2


def test_when_the_connection_ends_the_page_says_so_and_goes_on_at_a_click(page, server):
    page.press("q")
    for visitor in list(server.house.visitors.values()):
        visitor.gone = True
        visitor.tell(type="error", text="bye")
    assert page.wait("return document.body.dataset.state === 'closed'")
    assert "connection has ended" in page.alert()
    page.opened(lambda: page.find(".alert button").click())
    page.press("q")


def test_a_server_with_a_token_asks_for_it(driver, untrained_model, monkeypatch):
    monkeypatch.setenv("CTXMEM_TOKEN", "a-token-of-the-tests")
    with served(untrained_model) as serving:
        bare, _, token = serving.address.partition("#")
        driver.get(bare)
        driver.execute_script("sessionStorage.clear()")
        driver.get(bare)
        wait_until(lambda: driver.execute_script("return document.getElementById('ask').open"), 30)
        driver.find_element("css selector", "#token").send_keys(token)
        driver.find_element("css selector", "#ask button").click()
        wait_until(lambda: driver.execute_script("return document.body.dataset.opened"), 60)
        driver.get("about:blank")
        page = Page(driver, serving.address)
        assert token not in driver.current_url  # nor in the history
        page.press("q")
        driver.execute_script("sessionStorage.clear()")
        driver.get("about:blank")
    assert all("401" in entry["message"] for entry in driver.get_log("browser"))


def test_the_first_frame_comes_soon_after_the_page(page, record_property):
    record_property("first_frame_seconds", page.first_frame_seconds)
    assert page.first_frame_seconds < 10  # 3 on a machine that does nothing else
