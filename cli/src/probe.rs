//! `wget --spider URL` in little, so that the exec probes of Flagger's chart and manifests work in an image that holds
//! nothing but this binary. It speaks plain HTTP/1.1 and follows nothing.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Exit codes as wget has them.
const NETWORK_FAILURE: u8 = 4;
const BAD_USAGE: u8 = 2;
const SERVER_SAID_NO: u8 = 8;

/// Runs the probe; the exit code is wget's.
pub fn run(arguments: &[OsString]) -> u8 {
    match Probe::parse(arguments).and_then(|probe| probe.ask()) {
        Ok(status) if (200..300).contains(&status) => 0,
        Ok(status) => {
            eprintln!("server answered {status}");
            SERVER_SAID_NO
        }
        Err(failure) => {
            eprintln!("{}", failure.message);
            failure.code
        }
    }
}

struct Failure {
    code: u8,
    message: String,
}

#[derive(Debug, PartialEq)]
struct Probe {
    host: String,
    port: u16,
    path: String,
    timeout: Duration,
    tries: u32,
}

impl Probe {
    fn parse(arguments: &[OsString]) -> Result<Self, Failure> {
        let usage = |message: String| Failure { code: BAD_USAGE, message };
        let mut url = None;
        let mut timeout = Duration::from_secs(10);
        let mut tries = 1;
        let mut words = arguments.iter().map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) if name.starts_with('-') => (name.to_owned(), Some(value.to_owned())),
                Some(_) | None => (word.to_string(), None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| words.next().map(|word| word.to_string()))
                    .ok_or_else(|| usage(format!("{name} needs a value")))
            };
            match name.as_str() {
                "-q" | "--quiet" | "--spider" | "-nv" | "--no-verbose" => {}
                "-O" | "--output-document" => drop(value()?),
                "-T" | "--timeout" => {
                    let text = value()?;
                    let seconds: f64 = text.parse().map_err(|_| usage(format!("bad timeout {text}")))?;
                    timeout = Duration::try_from_secs_f64(seconds).map_err(|_| usage(format!("bad timeout {text}")))?;
                }
                "-t" | "--tries" => {
                    let text = value()?;
                    tries = text.parse().map_err(|_| usage(format!("bad number of tries {text}")))?;
                }
                _ if name.starts_with('-') => return Err(usage(format!("{name} is not known to this small wget"))),
                _ => url = Some(word.to_string()),
            }
        }
        let url = url.ok_or_else(|| usage("no URL given".to_owned()))?;
        let rest =
            url.strip_prefix("http://").ok_or_else(|| usage(format!("only http:// URLs can be probed, not {url}")))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| usage(format!("bad port {port} in {url}")))?),
            None => (authority, 80),
        };
        let timeout = timeout.max(Duration::from_millis(1));
        Ok(Probe { host: host.to_owned(), port, path: format!("/{path}"), timeout, tries: tries.max(1) })
    }

    fn ask(&self) -> Result<u16, Failure> {
        let mut last = String::new();
        for _ in 0..self.tries {
            match self.ask_once() {
                Ok(status) => return Ok(status),
                Err(failure) => last = failure.to_string(),
            }
        }
        Err(Failure {
            code: NETWORK_FAILURE,
            message: format!("asking {}:{}{}: {last}", self.host, self.port, self.path),
        })
    }

    fn ask_once(&self) -> std::io::Result<u16> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: serin-probe\r\nConnection: close\r\n\r\n",
            self.path, self.host, self.port
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        stream.take(64).read_to_end(&mut head)?;
        String::from_utf8_lossy(&head)
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok())
            .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is not HTTP"))
    }

    /// `localhost` means 127.0.0.1 also where there is no resolver.
    fn connect(&self) -> std::io::Result<TcpStream> {
        if self.host == "localhost" {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            if let Ok(stream) = TcpStream::connect_timeout(&address, self.timeout) {
                return Ok(stream);
            }
        }
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => return Ok(stream),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn serve(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                asked.extend(byte);
            }
            assert!(asked.starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).expect("the answer is sent");
        });
        port
    }

    #[test]
    fn flaggers_probe_is_answered() {
        let port = serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
        let line = format!("--quiet --tries=1 --timeout=4 --spider http://localhost:{port}/healthz");
        assert_eq!(run(&words(&line)), 0);
    }

    #[test]
    fn a_refusal_a_silence_and_a_wrong_call_differ() {
        let port = serve("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        assert_eq!(run(&words(&format!("-q -T 4 --spider http://127.0.0.1:{port}/healthz"))), SERVER_SAID_NO);
        let unused = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
        assert_eq!(run(&words(&format!("-q http://127.0.0.1:{unused}/"))), NETWORK_FAILURE);
        for line in ["--spider", "ftp://localhost/", "--mirror http://localhost/", "-T x http://localhost/"] {
            assert_eq!(run(&words(line)), BAD_USAGE, "{line}");
        }
    }
}
