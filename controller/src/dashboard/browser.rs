//! Headless Chromium, told what to do through its pipe for debuggers. Blocks; not for async code.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page. What its console complains about is kept.
pub(super) struct Browser {
    process: Child,
    folder: PathBuf,
    commands: File,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    complaints: Vec<String>,
}

impl Browser {
    /// `None`, with a line that says so, where there is no Chromium.
    pub(super) fn start() -> Option<Browser> {
        let Some(program) = find() else {
            eprintln!("skipped: there is no Chromium in $CHROMIUM or in $PATH");
            return None;
        };
        let folder =
            std::env::temp_dir().join(format!("serin-browser-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        std::fs::create_dir(&folder).expect("a folder of its own");
        let (commands, answers) = (folder.join("commands"), folder.join("answers"));
        let made = Command::new("mkfifo").args([&commands, &answers]).status().expect("mkfifo runs");
        assert!(made.success(), "mkfifo");
        // The debugger's pipe is the file descriptors 3 and 4.
        let process = Command::new("sh")
            .args(["-c", "exec 3<\"$1\" 4>\"$2\"; shift 2; exec \"$@\"", "sh"])
            .args([&commands, &answers, &program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--remote-debugging-pipe", "--hide-scrollbars", "--disable-extensions", "--mute-audio"])
            .arg("--disable-background-networking")
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let commands = File::options().write(true).open(commands).expect("the pipe to the browser");
        let answers = File::open(answers).expect("the pipe from the browser");
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let message = message.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                if message.is_none_or(|message| sender.send(message).is_err()) {
                    return;
                }
            }
        });
        let mut browser =
            Browser { process, folder, commands, messages, last_id: 0, session: None, complaints: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        Some(browser)
    }

    pub(super) fn open(&mut self, address: &str) {
        let answer = self.call("Page.navigate", json!({"url": address}));
        assert!(answer["errorText"].is_null(), "{answer}");
    }

    /// The size of the window, and which colours the user prefers.
    pub(super) fn window(&mut self, width: u32, height: u32, dark: bool) {
        let mobile = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": if mobile { 2 } else { 1 }, "mobile": mobile}),
        );
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// The value of a JavaScript expression.
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let wanted = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", wanted);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until the expression is true.
    pub(super) fn until(&mut self, expression: &str) {
        let waited = self.value(&format!(
            "new Promise((done) => {{ const start = Date.now(); (function look() {{ \
             if ({expression}) done('yes'); \
             else if (Date.now() - start > 20000) done(document.body.innerText); \
             else setTimeout(look, 20); }})() }})"
        ));
        assert_eq!(waited, "yes", "{expression} did not come to hold");
    }

    /// Presses and lets go of a key, as `Enter`, `Escape`, `Tab` or `ArrowLeft`.
    pub(super) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            other => panic!("no code for {other}"),
        };
        let mut event = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if key == "Enter" {
            event["text"] = "\r".into();
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", event);
    }

    /// Writes where the focus is.
    pub(super) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Keeps a picture of the window in `$SERIN_SCREENSHOTS`, when that is set.
    pub(super) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("SERIN_SCREENSHOTS") else { return };
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let data = answer["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        std::fs::create_dir_all(&folder).expect("the folder");
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).expect("the picture is written");
    }

    /// What the console complained about since the last call.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        // Answers come in order, so what was complained about before this has arrived after it.
        self.value("1");
        std::mem::take(&mut self.complaints)
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("the browser listens");
        loop {
            let mut message = self.messages.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.push(message["params"].to_string()),
                Some("Log.entryAdded") if message["params"]["entry"]["level"] == "error" => {
                    self.complaints.push(message["params"]["entry"]["text"].to_string());
                }
                _ => {}
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Nothing is left to be done when it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn find() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").filter(|name| !name.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let in_path =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).collect::<Vec<_>>();
    named.into_iter().chain(in_path).find(|candidate| candidate.is_file())
}
