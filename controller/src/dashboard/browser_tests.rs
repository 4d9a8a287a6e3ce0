//! The page as a person sees and uses it, in headless Chromium. Without one the tests say so and pass.
//! `SERIN_SCREENSHOTS=FOLDER` keeps pictures of what was seen.

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::Dashboard;
use super::access::Access;
use super::browser::Browser;
use super::made_up::{World, serve};
use crate::objects::kinds::CANARY;

const DESK: (u32, u32) = (1360, 900);
const PHONE: (u32, u32) = (390, 844);

struct Visit {
    browser: Browser,
    world: World,
    address: String,
    /// Ends the server.
    stop: watch::Sender<bool>,
    runtime: Runtime,
}

impl Visit {
    fn new(access: impl FnOnce(&World) -> Access, busy: bool) -> Option<Visit> {
        let browser = Browser::start()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (world, address, stop) = runtime.block_on(async {
            let world = World::empty().await;
            let dashboard = Dashboard::new(world.context(), access(&world));
            if busy {
                world.populate().await;
            }
            let (address, stop) = serve(dashboard, 0).await;
            (world, address, stop)
        });
        let mut visit = Visit { browser, world, address, stop, runtime };
        visit.window(DESK, false);
        let address = visit.address.clone();
        visit.browser.open(&address);
        Some(visit)
    }

    fn window(&mut self, (width, height): (u32, u32), dark: bool) {
        self.browser.window(width, height, dark);
    }

    /// Nothing hangs out of the window to the right.
    fn fits(&mut self) {
        let size = self.browser.value("[document.documentElement.scrollWidth, innerWidth]");
        assert!(size[0].as_i64() <= size[1].as_i64(), "{size}");
    }

    /// A picture in every dress.
    fn pictures(&mut self, name: &str) {
        for (window, dark, dress) in
            [(DESK, false, "light"), (DESK, true, "dark"), (PHONE, false, "phone"), (PHONE, true, "phone-dark")]
        {
            self.window(window, dark);
            // Charts are drawn anew for the width.
            self.browser.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))");
            self.fits();
            self.browser.picture(&format!("{name}-{dress}"));
        }
        self.window(DESK, false);
    }

    fn text(&mut self, selector: &str) -> String {
        let text = self.browser.value(&format!("document.querySelector({selector:?})?.innerText ?? ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    fn canary(&self, name: &str) -> Value {
        self.world.fake.object(CANARY, "shop", name).unwrap()
    }
}

#[test]
fn the_overview_shows_all_and_stays_live() {
    let Some(mut visit) = Visit::new(|_| Access::Loopback, true) else { return };
    visit.browser.until("document.querySelectorAll('.rollouts tbody tr').length === 10");
    assert_eq!(visit.text("#connection"), "live");
    let first = visit.text(".rollouts tbody tr");
    assert!(first.contains("search") && first.contains("Failed"), "what needs somebody comes first: {first}");
    visit.pictures("overview");

    // By keyboard alone: to the search, then to the one that is found.
    visit.browser.value("document.getElementById('search').focus()");
    visit.browser.write("cart 2.15");
    visit.browser.until("document.querySelectorAll('.rollouts tbody tr').length === 1");
    visit.browser.press("Tab");
    assert_eq!(visit.browser.value("document.activeElement?.closest('tr') !== null"), true);

    let mut cart = visit.canary("cart");
    cart["status"]["canaryWeight"] = 75.into();
    cart["status"]["waitingFor"] = json!([{"reason": "Paused", "message": "<img src=x onerror=alert(1)>"}]);
    visit.world.fake.put(CANARY, cart);
    visit.browser.until("document.querySelector('.rollouts .number').innerText === '75 %'");
    assert_eq!(visit.browser.value("document.querySelectorAll('td img').length"), 0, "texts are no markup");
    assert!(visit.text(".why").contains("<img src=x"));
    assert_eq!(visit.browser.value("document.activeElement?.closest('tr') !== null"), true, "the focus stays");
    visit.browser.press("Enter");
    visit.browser.until("location.hash === '#/shop/cart' && document.querySelector('.plot')");
    assert_eq!(visit.browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_rollout_is_shown_in_full_and_commanded() {
    let Some(mut visit) = Visit::new(|_| Access::Loopback, true) else { return };
    visit.browser.value("location.hash = '#/shop/checkout'");
    visit.browser.until("document.querySelectorAll('.check .chart').length === 4 && document.querySelectorAll('.pod-list li').length === 5");
    assert_eq!(visit.browser.value("document.querySelectorAll('.check .chart .failed').length"), 2);
    assert!(visit.text(".revision").contains("Mia Finch") && visit.text(".log").contains("canary weight 10"));
    visit.pictures("rollout");

    visit.browser.value("document.querySelector('.plot').focus()");
    visit.browser.press("ArrowLeft");
    assert!(visit.text(".readout").contains("10 %"), "{}", visit.text(".readout"));
    visit.browser.press("ArrowRight");
    let readout = visit.text(".readout");
    assert!(readout.contains("25 %") && readout.contains("failed"), "{readout}");

    // No by Escape, yes by Enter.
    visit.browser.value("document.querySelector('[data-verb=abort]').focus()");
    visit.browser.press("Enter");
    visit.browser.until("document.getElementById('confirm').open");
    assert_eq!(visit.browser.value("document.activeElement?.id"), "confirm-no", "the risky answer takes a step more");
    visit.pictures("confirm");
    visit.browser.press("Escape");
    visit.browser.until("!document.getElementById('confirm').open");
    assert!(visit.canary("checkout")["metadata"]["annotations"].is_null());
    visit.browser.until("document.activeElement?.dataset.verb === 'abort'");
    visit.browser.value("document.querySelector('[data-verb=pause]').click()");
    visit.browser.until("document.activeElement?.id === 'confirm-yes'");
    visit.browser.press("Enter");
    visit.browser.until("document.getElementById('said').innerText.includes('pause')");
    let mut checkout = visit.canary("checkout");
    let given = checkout["metadata"]["annotations"].clone();
    assert_eq!(given["serin.dev/command"], "pause");
    // The controller's answer.
    checkout["status"]["paused"] = true.into();
    checkout["status"]["lastCommand"] = json!({
        "id": given["serin.dev/command-id"], "command": "pause", "by": given["serin.dev/command-by"], "outcome": "paused",
        "time": visit.world.now,
    });
    visit.world.fake.put(CANARY, checkout);
    visit.browser.until("document.getElementById('toasts').innerText.includes('pause: paused')");
    visit.browser.until("document.querySelector('[data-verb=resume]') && !document.querySelector('[data-verb=pause]')");
    visit.browser.picture("rollout-paused");

    visit.browser.value("location.hash = '#/shop/search'");
    visit.browser.until("document.querySelector('.head .badge')?.innerText.includes('Failed') && document.querySelector('.check .chart')");
    assert!(visit.text(".verbs").contains("Retry"));
    visit.pictures("failed");
    assert_eq!(visit.browser.complaints(), Vec::<String>::new());
    visit.browser.value("location.hash = '#/shop/nothing'");
    visit.browser.until("document.querySelector('.head').innerText.includes('no such Canary')");
}

#[test]
fn the_page_says_when_there_is_nothing_and_when_the_stream_is_lost() {
    let Some(mut visit) = Visit::new(|_| Access::Loopback, false) else { return };
    visit.browser.until("document.querySelector('.empty')?.innerText.includes('No rollouts yet')");
    visit.pictures("empty");
    visit.runtime.block_on(visit.world.populate());
    visit.browser.until("document.querySelectorAll('.rollouts tbody tr').length === 10");
    assert_eq!(visit.browser.complaints(), Vec::<String>::new());

    visit.stop.send(true).unwrap();
    visit.browser.until("!document.getElementById('trouble').hidden");
    assert!(visit.text("#trouble").contains("cannot be reached"), "{}", visit.text("#trouble"));
    assert_eq!(
        visit.browser.value("document.querySelectorAll('.rollouts tbody tr').length"),
        10,
        "what was seen stays"
    );
    visit.pictures("lost");
    let port = visit.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap();
    let dashboard = Dashboard::new(visit.world.context(), Access::Loopback);
    let (_, stop) = visit.runtime.block_on(serve(dashboard, port));
    visit.browser.value("document.querySelector('#trouble button')?.click()");
    visit.browser.until(
        "document.getElementById('trouble').hidden && document.getElementById('connection').innerText === 'live'",
    );
    drop(stop);
}

#[test]
fn whoever_has_no_token_is_asked_for_one_and_sees_what_they_may() {
    let access = |world: &World| World::token_access(&world.fake, world.context());
    let Some(mut visit) = Visit::new(access, true) else { return };
    visit.browser.until("document.activeElement?.id === 'token'");
    visit.pictures("sign-in");
    visit.browser.write("wrong");
    visit.browser.press("Enter");
    visit.browser.until("document.querySelector('.sign-in .failures')?.innerText.includes('not valid')");
    visit.browser.write("mias-token");
    visit.browser.press("Enter");
    visit.browser.until("document.querySelectorAll('.rollouts tbody tr').length === 5");
    assert_eq!(visit.text("#user"), "mia@example.com");
    visit.browser.value("location.hash = '#/payments/ledger'");
    visit.browser.until("document.querySelector('.verbs').innerText.includes('may see, but not act')");
    assert_eq!(visit.browser.value("document.querySelectorAll('.verbs button:not(:disabled)').length"), 0);
    visit.browser.until("document.querySelector('.pods').innerText.includes('may not list pods')");
    visit.browser.picture("rollout-seen-only");
    visit.browser.value("location.hash = '#/edge/web'");
    visit
        .browser
        .until("document.getElementById('trouble').innerText.includes('may not list canaries in namespace edge')");
}

#[test]
fn a_replica_that_stands_by_is_of_use_and_marks_what_it_recorded() {
    let Some(browser) = Browser::start() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (world, address, stop) = runtime.block_on(async {
        let world = World::standing_by().await;
        world.history().follow("serin-7d9c5b4f6-x2k");
        let dashboard = Dashboard::new(world.context(), Access::Loopback);
        world.put_told();
        let (address, stop) = serve(dashboard, 0).await;
        (world, address, stop)
    });
    let mut visit = Visit { browser, world, address, stop, runtime };
    visit.window(DESK, false);
    let address = format!("{}/#/shop/basket", visit.address);
    visit.browser.open(&address);
    visit.browser.until("document.querySelector('.log')?.innerText.includes('canary weight 10') && document.querySelector('.chart .recalled')");
    assert!(visit.text("#standing").contains("serin-7d9c5b4f6-x2k leads"), "{}", visit.text("#standing"));
    assert!(visit.text(".log").contains("Another replica decides"), "{}", visit.text(".log"));
    assert_eq!(visit.browser.value("document.querySelector('.plot').textContent.includes('recorded from here')"), true);
    visit.pictures("standing-by");
    visit.browser.value("document.querySelector('.plot').focus()");
    visit.browser.press("ArrowLeft");
    visit.browser.press("ArrowLeft");
    assert!(visit.text(".readout").contains("5 %"), "{}", visit.text(".readout"));

    visit.world.history().lead(visit.world.now);
    visit.browser.until("document.getElementById('standing').hidden && document.querySelector('.log').innerText.includes('Recorded since')");
    visit.pictures("recorded-since");
    assert_eq!(visit.browser.complaints(), Vec::<String>::new());
}

/// For looking at the page by hand: `cargo test -p controller --lib -- --ignored dashboard::browser_tests::serves`.
#[test]
#[ignore = "serves until it is interrupted"]
fn serves_what_is_made_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::empty().await;
        let dashboard = Dashboard::new(world.context(), Access::Loopback);
        world.populate().await;
        let (address, _stop) = serve(dashboard, 8081).await;
        eprintln!("{address}");
        std::future::pending::<()>().await;
    });
}
