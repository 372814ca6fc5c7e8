//! A page of a server, as its reader has it: opened, read, clicked, typed into, and looked at.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::chromium::{Chromium, chromium, watch_all};
use crate::seen::{Seen, exception};

const AXE: &str = include_str!("axe/axe.min.js");
/// How long a page may take to become what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How large the window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Desktop,
    Phone,
}

/// What the reader's system asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// Must be closed, which holds that nothing went wrong in it and that nothing was asked for elsewhere.
pub(crate) struct Page {
    chromium: &'static Chromium,
    /// `http://127.0.0.1:9090`: all that may be asked for.
    home: String,
    context: String,
    session: String,
    seen: Arc<Mutex<Seen>>,
    closed: bool,
}

impl Page {
    /// Opens a path of a server on a light desktop.
    pub(crate) async fn open(home: &str, path: &str) -> Self {
        let page = Self::empty(home).await;
        page.goto(path).await;
        page
    }

    /// A page that shows nothing yet, with cookies and storage of its own.
    pub(crate) async fn empty(home: &str) -> Self {
        let chromium = chromium();
        let context = json!({ "disposeOnDetach": true });
        let context = chromium.must(None, "Target.createBrowserContext", context).await;
        let context = context["browserContextId"].as_str().unwrap().to_owned();
        let target = json!({ "url": "about:blank", "browserContextId": context });
        let target = chromium.must(None, "Target.createTarget", target).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = chromium.must(None, "Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().unwrap().to_owned();
        let seen = Arc::<Mutex<Seen>>::default();
        chromium.watch(&session, seen.clone());
        let home = home.trim_end_matches('/').to_owned();
        let page = Self { chromium, home, context, session, seen, closed: false };
        page.must("Page.enable", json!({})).await;
        page.must("Page.setLifecycleEventsEnabled", json!({ "enabled": true })).await;
        page.must("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        watch_all(&page.session);
        page.look(Screen::Desktop, Scheme::Light).await;
        page
    }

    /// Changes the window and the colours, of a page that is shown as well.
    pub(crate) async fn look(&self, screen: Screen, scheme: Scheme) {
        let (width, height, phone) = match screen {
            Screen::Desktop => (1280, 800, false),
            Screen::Phone => (390, 844, true),
        };
        let window =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.must("Emulation.setDeviceMetricsOverride", window).await;
        self.must("Emulation.setTouchEmulationEnabled", json!({ "enabled": phone })).await;
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            // What moves is neither read nor pictured halfway.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.must("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Goes to a path of the server and returns when it is loaded, with all it needs.
    pub(crate) async fn goto(&self, path: &str) {
        self.goto_status(path, 200).await;
    }

    /// Goes to a path which answers with this status.
    pub(crate) async fn goto_status(&self, path: &str, expected: u64) {
        let url = format!("{}{path}", self.home);
        let gone = self.must("Page.navigate", json!({ "url": url })).await;
        let error = &gone["errorText"];
        assert!(error.is_null(), "{url}: {error}");
        let document =
            gone["loaderId"].as_str().expect("another document, not a place in this one");
        let status = self.until(&format!("{url} is loaded"), async || self.loaded(document)).await;
        assert_eq!(status, expected, "{url}");
        // Chromium takes for a fault what was expected.
        let expected_fault = |fault: &str| fault.starts_with("log: ") && fault.ends_with(&url);
        self.seen.lock().unwrap().faults.retain(|fault| status < 400 || !expected_fault(fault));
    }

    /// Clicks on a link, or on what sends a form, and returns when the page it leads to is loaded.
    pub(crate) async fn follow(&self, css: &str) {
        let before = self.document();
        self.click(css).await;
        let what = format!("`{css}` leads somewhere");
        let status = self.until(&what, async || self.next(before.as_ref())).await;
        assert_eq!(status, 200, "`{css}` leads to {}", self.url().await);
    }

    fn document(&self) -> Option<String> {
        self.seen.lock().unwrap().document.clone()
    }

    fn loaded(&self, document: &str) -> Result<u64, String> {
        self.seen.lock().unwrap().loaded(document).ok_or_else(|| "still loading".to_owned())
    }

    fn next(&self, before: Option<&String>) -> Result<u64, String> {
        match self.document() {
            Some(document) if Some(&document) != before => self.loaded(&document),
            _ => Err("still on the page before".to_owned()),
        }
    }

    pub(crate) async fn url(&self) -> String {
        self.eval("location.href").await
    }

    /// What JavaScript makes of an expression; a promise is waited for.
    pub(crate) async fn eval<T: DeserializeOwned>(&self, expression: &str) -> T {
        let value = self.try_eval(expression).await.unwrap_or_else(|error| panic!("{error}"));
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_eval(&self, expression: &str) -> Result<Value, String> {
        self.eval_in(&Value::Null, expression)
            .await
            .map_err(|error| format!("{error}, in: {expression}"))
    }

    /// In one of the page's contexts, its own where none is given.
    async fn eval_in(&self, context: &Value, expression: &str) -> Result<Value, String> {
        let mut params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        if !context.is_null() {
            params["contextId"] = context.clone();
        }
        let mut done = self.chromium.ask(Some(&self.session), "Runtime.evaluate", params).await?;
        match done.get("exceptionDetails") {
            Some(details) => Err(exception(details)),
            None => Ok(done["result"]["value"].take()),
        }
    }

    /// Waits until a JavaScript expression is true. What it throws means that it is not.
    pub(crate) async fn wait_for(&self, condition: &str) {
        self.until(condition, async || match self.try_eval(condition).await? {
            Value::Bool(true) => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
    }

    /// Waits until the text of the first such element contains this.
    pub(crate) async fn wait_for_text(&self, css: &str, part: &str) {
        self.wait_for(&format!("{}.innerText.includes({})", first(css), json!(part))).await;
    }

    /// What one reads in the first such element, which must be there.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.eval(&format!("{}.innerText", first(css))).await
    }

    /// What one reads in each such element.
    pub(crate) async fn texts(&self, css: &str) -> Vec<String> {
        let all = format!("[...document.querySelectorAll({})]", json!(css));
        self.eval(&format!("{all}.map(element => element.innerText)")).await
    }

    /// Clicks on the middle of the first such element, once it can be: it is there, and nothing covers it.
    pub(crate) async fn click(&self, css: &str) {
        let place = format!(
            "(() => {{
                const element = {};
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element.getClientRects()[0];
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const hit = document.elementFromPoint(x, y);
                if (!element.contains(hit)) throw `covered by ${{hit?.outerHTML}}`;
                if (element.disabled) throw 'disabled';
                return [x, y];
            }})()",
            first(css)
        );
        let find = async || self.try_eval(&place).await;
        let place = self.until(&format!("`{css}` can be clicked"), find).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.must("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Writes into a field, in the place of what it holds.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        self.click(css).await;
        self.eval::<()>(&format!("{}.select()", first(css))).await;
        self.must("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key: `Enter`, `Tab`, `Escape`, `ArrowDown`, …, or one that writes.
    pub(crate) async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, Some("\r")),
            "Tab" => (9, None),
            "Escape" => (27, None),
            "Backspace" => (8, None),
            "ArrowLeft" => (37, None),
            "ArrowUp" => (38, None),
            "ArrowRight" => (39, None),
            "ArrowDown" => (40, None),
            _ if key.chars().count() == 1 => {
                // The code of a letter, a digit and the space is that of its capital.
                let capital = key.as_bytes()[0].to_ascii_uppercase();
                let code =
                    if capital.is_ascii_alphanumeric() || capital == b' ' { capital } else { 0 };
                (code, Some(key))
            }
            _ => panic!("{key} is no key that is known here"),
        };
        let mut event = json!({ "type": "rawKeyDown", "key": key, "windowsVirtualKeyCode": code });
        if let Some(text) = text {
            event["type"] = "keyDown".into();
            event["text"] = text.into();
        }
        self.must("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = "keyUp".into();
        self.must("Input.dispatchKeyEvent", event).await;
    }

    /// The window as a PNG.
    pub(crate) async fn png(&self) -> Vec<u8> {
        self.shot(json!({ "format": "png" })).await
    }

    /// So many pixels of the window from its top, as a PNG.
    pub(crate) async fn png_of_the_top(&self, height: u32) -> Vec<u8> {
        let width: u32 = self.eval("innerWidth").await;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        self.shot(json!({ "format": "png", "clip": clip })).await
    }

    async fn shot(&self, params: Value) -> Vec<u8> {
        self.settle().await;
        let shot = self.must("Page.captureScreenshot", params).await;
        base64::prelude::BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// What axe finds in the page as it looks now, of the impacts serious and critical: rule, impact, where, why.
    pub(crate) async fn accessibility_faults(&self) -> Vec<String> {
        self.settle().await;
        // In a world of its own: the page's scripts and it do not meet.
        let tree = self.must("Page.getFrameTree", json!({})).await;
        let world = json!({ "frameId": tree["frameTree"]["frame"]["id"], "worldName": "axe" });
        let world = self.must("Page.createIsolatedWorld", world).await;
        let world = &world["executionContextId"];
        let eval = async |expression: &str| {
            let done = self.eval_in(world, expression).await;
            done.unwrap_or_else(|error| panic!("axe: {error}"))
        };
        if eval("typeof axe").await == "undefined" {
            eval(AXE).await;
        }
        let run = "axe.run({ resultTypes: ['violations'], preload: false }).then(({ violations }) => violations
            .filter(({ impact }) => impact === 'serious' || impact === 'critical')
            .flatMap(({ id, impact, nodes }) => nodes.map(({ target, failureSummary }) =>
                `${id} (${impact}): ${target}: ${failureSummary.replaceAll(/\\s+/g, ' ')}`)))";
        serde_json::from_value(eval(run).await).unwrap()
    }

    pub(crate) async fn assert_accessible(&self) {
        let faults = self.accessibility_faults().await;
        assert!(faults.is_empty(), "{}:\n{}", self.url().await, faults.join("\n"));
    }

    /// Holds what every page must, dark and light, on a phone and on a desktop: axe finds no fault, and nothing needs
    /// scrolling sideways. Leaves the page light and on a desktop.
    pub(crate) async fn assert_good(&self) {
        for (screen, scheme) in [
            (Screen::Phone, Scheme::Dark),
            (Screen::Phone, Scheme::Light),
            (Screen::Desktop, Scheme::Dark),
            (Screen::Desktop, Scheme::Light),
        ] {
            self.look(screen, scheme).await;
            let faults = self.accessibility_faults().await;
            let url = self.url().await;
            assert!(faults.is_empty(), "{url}, {screen:?}, {scheme:?}:\n{}", faults.join("\n"));
            let too_wide = self.too_wide().await;
            assert!(too_wide.is_empty(), "{url}, {screen:?}: wider than the window: {too_wide:?}");
        }
    }

    /// What makes the page wider than its window; empty where it fits.
    pub(crate) async fn too_wide(&self) -> Vec<String> {
        self.eval(
            "(() => {
                const width = document.documentElement.clientWidth;
                if (document.documentElement.scrollWidth <= width) return [];
                const wide = [...document.body.querySelectorAll('*')]
                    .filter(element => element.getBoundingClientRect().right > width + 1);
                return ['the page', ...wide.slice(0, 5).map(({ outerHTML }) => outerHTML.slice(0, 200))];
            })()",
        )
        .await
    }

    /// What went wrong so far, which is then no longer held against the page: errors on the console, exceptions,
    /// requests that failed, addresses elsewhere that were asked for or are linked as part of the page.
    pub(crate) async fn take_faults(&self) -> Vec<String> {
        self.settle().await;
        // Icons and connections made ahead are no requests of the page's.
        let links = "[...document.querySelectorAll('link[href]')].map(({ href }) => href)";
        let linked: Vec<String> = self.eval(links).await;
        let mut seen = self.seen.lock().unwrap();
        let mut faults = std::mem::take(&mut seen.faults);
        let asked = std::mem::take(&mut seen.requests);
        let elsewhere = asked.iter().chain(&linked).filter(|url| !self.is_home(url));
        faults.extend(elsewhere.map(|url| format!("elsewhere: {url}")));
        faults
    }

    /// Closes the page, in which nothing may have gone wrong.
    pub(crate) async fn close(self) {
        let url = self.url().await;
        let faults = self.close_faulty().await;
        assert!(faults.is_empty(), "{url}:\n{}", faults.join("\n"));
    }

    /// Closes a page in which something was to go wrong, and says what did.
    pub(crate) async fn close_faulty(mut self) -> Vec<String> {
        let faults = self.take_faults().await;
        self.closed = true;
        let context = json!({ "browserContextId": self.context });
        self.chromium.must(None, "Target.disposeBrowserContext", context).await;
        faults
    }

    fn is_home(&self, url: &str) -> bool {
        let rest = url.strip_prefix(&self.home);
        let rest = rest.or_else(|| url.strip_prefix(&self.home.replacen("http", "ws", 1)));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
            || ["about:", "data:", "blob:"].iter().any(|within| url.starts_with(within))
    }

    /// Waits until what was under way is shown: fonts, and two frames.
    async fn settle(&self) {
        let frames = "document.fonts.ready.then(() => new Promise(shown =>
            requestAnimationFrame(() => requestAnimationFrame(() => shown(null)))))";
        self.eval::<()>(frames).await;
    }

    async fn must(&self, method: &str, params: Value) -> Value {
        self.chromium.must(Some(&self.session), method, params).await
    }

    /// Asks again and again until there is an answer.
    async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let error = match ask().await {
                Ok(answer) => return answer,
                Err(error) => error,
            };
            if Instant::now() > until {
                let faults = self.seen.lock().unwrap().faults.join("\n");
                let url = self.try_eval("location.href").await;
                let file =
                    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.png", self.session));
                std::fs::write(&file, self.png().await).unwrap();
                panic!(
                    "waited for nothing: {what}\nlast: {error}\nfaults: {faults}\nat: {url:?}, as in {}",
                    file.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.chromium.forget(&self.seen);
        assert!(self.closed || std::thread::panicking(), "close the page: that looks for faults");
    }
}

/// The first element of a CSS selector, in JavaScript; it throws where there is none.
fn first(css: &str) -> String {
    format!("(document.querySelector({0}) ?? (() => {{ throw 'no ' + {0} }})())", json!(css))
}
