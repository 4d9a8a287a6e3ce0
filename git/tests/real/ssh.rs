//! A real OpenSSH server on loopback, where there is one; where not, the unit test of the command has to do.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use git::{Change, Credentials, Error, Limits, Pushed, Remote};

use crate::fixture::{World, main, run};
use crate::push::new;

const SSHD: &str = "/usr/sbin/sshd";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn over_ssh_a_branch_is_followed_and_pushed() {
    if !std::path::Path::new(SSHD).exists() {
        eprintln!("no {SSHD}: nothing to test against");
        return;
    }
    let world = World::new();
    let folder = world.folder.path();
    for name in ["host", "key", "stranger"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name)));
    }
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    std::fs::write(folder.join("authorized"), read("key.pub")).expect("write");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("port").port();
    let settings = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nPidFile none\n",
        folder.display()
    );
    std::fs::write(folder.join("sshd_config"), settings).expect("write");
    let _ = std::fs::create_dir_all("/run/sshd");
    let mut sshd = Command::new(SSHD);
    sshd.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stderr(Stdio::null());
    let _server = Server(sshd.spawn().expect("sshd"));
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "sshd does not listen");
        std::thread::yield_now();
    }
    let user = run(Command::new("id").arg("-un"));
    let url = format!("ssh://{user}@127.0.0.1:{port}{}", world.bare().display());
    let host = read("host.pub");
    let remote = |key: &str, host: &str| {
        let known_hosts = format!("[127.0.0.1]:{port} {host}");
        let credentials = Credentials::Ssh { private_key: read(key), known_hosts };
        Remote::new(&url, main(), credentials).expect("remote")
    };
    let limits = Limits { deadline: Duration::from_secs(20), ..Limits::default() };
    let known = remote("key", &host);
    let mut mirror = world.mirror();
    let parent = mirror.fetch(&known, &limits).expect("fetch").commit.id;
    let id = mirror.commit(&new(parent, vec![Change::write("x", "y")], "X")).expect("commit");
    for wrong in [remote("stranger", &host), remote("key", &read("stranger.pub"))] {
        let error = mirror.fetch(&wrong, &limits).expect_err("refused");
        assert!(matches!(error, Error::Authentication { .. }), "{error}");
        let error = mirror.push(&wrong, "main", &id, &limits).expect_err("refused");
        assert!(matches!(error, Error::Authentication { .. }), "{error}");
    }
    assert_eq!(mirror.push(&known, "main", &id, &limits).expect("push"), Pushed::Done);
    assert_eq!(mirror.fetch(&known, &limits).expect("fetch").commit.id, id);
}
