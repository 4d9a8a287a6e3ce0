//! Who signed a commit, asked of `gpg` and `ssh-keygen`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::session::Private;
use crate::{CommitId, Error, Mirror};

/// A key whose signatures are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// One or more OpenPGP keys in ASCII armour.
    OpenPgp(String),
    /// One OpenSSH public key, as in `ssh-ed25519 AAAA… comment`.
    Ssh(String),
}

impl Mirror {
    /// Checks that a commit is signed with one of the keys, and returns the fingerprint of that key.
    ///
    /// # Errors
    ///
    /// [`Error::NotSigned`], [`Error::NotTrusted`] (another key, a bad signature, an expired or revoked key),
    /// [`Error::Key`], and [`Error::Program`] if `gpg` or `ssh-keygen` is needed and not there.
    pub fn verify(&self, commit: &CommitId, keys: &[PublicKey]) -> Result<String, Error> {
        let repository = self.repository()?;
        if !repository.has_object(commit.0) {
            return Err(Error::NoCommit { commit: *commit });
        }
        let read = || -> gix::Result<Option<(Vec<u8>, Vec<u8>)>> {
            let found = repository.find_commit(commit.0)?;
            Ok(found.signature()?.map(|(signature, data)| (signature.to_vec(), data.to_bstring().into())))
        };
        let signed = read().map_err(|error| self.damaged(&error))?;
        let (signature, data) = signed.ok_or(Error::NotSigned { commit: *commit })?;
        let private = Private::new()?;
        let signature_file = private.write("signature", &signature)?;
        let is_ssh = signature.starts_with(b"-----BEGIN SSH SIGNATURE-----");
        let said = if is_ssh {
            by_ssh(&private, &signature_file, &data, keys)?
        } else if signature.starts_with(b"-----BEGIN PGP ") {
            by_gpg(&private, &signature_file, &data, keys)?
        } else {
            Err("it is neither an OpenPGP nor an SSH signature".to_owned())
        };
        said.map_err(|why| Error::NotTrusted { commit: *commit, why })
    }
}

/// The fingerprint, or why there is none.
type Verdict = Result<String, String>;

fn by_ssh(private: &Private, signature: &Path, data: &[u8], keys: &[PublicKey]) -> Result<Verdict, Error> {
    let mut allowed = String::new();
    for key in keys {
        match key {
            PublicKey::OpenPgp(_) => {}
            PublicKey::Ssh(key) => {
                let mut words = key.split_whitespace();
                let (Some(kind), Some(body)) = (words.next(), words.next()) else {
                    return Err(Error::Key { why: "an SSH key is written as 'ssh-ed25519 AAAA…'".into() });
                };
                allowed += &format!("signer namespaces=\"git\" {kind} {body}\n");
            }
        }
    }
    if allowed.is_empty() {
        return Ok(Err("it is an SSH signature, and no SSH key is given".into()));
    }
    let allowed = private.write("allowed", allowed.as_bytes())?;
    let mut command = private.command("ssh-keygen");
    command.args(["-Y", "verify", "-n", "git", "-I", "signer", "-f"]).arg(allowed).arg("-s").arg(signature);
    let output = run(command, "ssh-keygen", data)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Ok(Err(line(&output, "the key is not among the given ones, or the signature does not fit")));
    }
    let fingerprint = said.split_whitespace().find(|word| word.starts_with("SHA256:"));
    Ok(fingerprint.map(str::to_owned).ok_or_else(|| "ssh-keygen names no key".to_owned()))
}

fn by_gpg(private: &Private, signature: &Path, data: &[u8], keys: &[PublicKey]) -> Result<Verdict, Error> {
    let gpg = || {
        let mut command = private.command("gpg");
        command.arg("--homedir").arg(private.path());
        command.args(["--batch", "--no-tty", "--no-autostart", "--trust-model", "always", "--no-auto-key-retrieve"]);
        command
    };
    let mut any = false;
    for key in keys {
        match key {
            PublicKey::Ssh(_) => {}
            PublicKey::OpenPgp(armour) => {
                let mut command = gpg();
                command.arg("--import");
                let output = run(command, "gpg", armour.as_bytes())?;
                if !output.status.success() {
                    return Err(Error::Key { why: line(&output, "gpg does not take it") });
                }
                any = true;
            }
        }
    }
    if !any {
        return Ok(Err("it is an OpenPGP signature, and no OpenPGP key is given".into()));
    }
    let mut command = gpg();
    command.args(["--status-fd", "1", "--verify"]).arg(signature).arg("-");
    let output = run(command, "gpg", data)?;
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = |name: &str| status.lines().find_map(|line| line.strip_prefix("[GNUPG:] ")?.strip_prefix(name));
    // An expired or revoked key is EXPKEYSIG or REVKEYSIG, though its signature be valid.
    match (word("GOODSIG "), word("VALIDSIG "), output.status.success()) {
        (Some(_), Some(valid), true) => {
            // Signed by a subkey, the last word is the key that it belongs to.
            Ok(valid.split_whitespace().next_back().map(str::to_owned).ok_or_else(|| "gpg names no key".to_owned()))
        }
        (_, _, _) => Ok(Err(line(&output, "the key is not among the given ones, or the signature does not fit"))),
    }
}

fn run(mut command: Command, program: &'static str, input: &[u8]) -> Result<Output, Error> {
    let no_program = |source| Error::Program { program, purpose: "verify signatures", source };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(no_program)?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end without having read everything; its status says why.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output().map_err(no_program)
}

/// The last line of what a program complained of, or `otherwise`.
fn line(output: &Output, otherwise: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map_or_else(|| otherwise.to_owned(), |last| last.chars().filter(|c| !c.is_control()).take(300).collect())
}
