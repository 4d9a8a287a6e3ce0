//! The pull request for what is pushed.

use controller::forges::{self, CloneAddress, NewPull, Repository, Token, talk};
use controller::http::{self, Clients};

use crate::complaint::Complaint;

/// Where the token for the forge is read from.
const TOKEN: &str = "SERIN_FORGE_TOKEN";

/// A forge that can be asked.
pub(super) struct Forge {
    repository: Repository,
    token: Token,
}

fn refused(why: impl std::fmt::Display) -> Complaint {
    Complaint::Refused(format!("opening a pull request: {why}"))
}

impl Forge {
    /// The forge that the repository is on; `name` says which kind it is where the address does not.
    pub(super) fn find(address: &str, name: Option<&str>) -> Result<Forge, Complaint> {
        let repository = match name {
            None => forges::recognise(address, &[]).map_err(|error| refused(format!("{error}, by --forge")))?,
            Some(name) => {
                let address = CloneAddress::parse(address).map_err(refused)?;
                forges::locate(forges::by_name(name).map_err(refused)?, &address).map_err(refused)?
            }
        };
        let token = std::env::var(TOKEN).ok().as_deref().and_then(Token::new);
        let token = token
            .ok_or_else(|| refused(format!("${TOKEN} is not set; the token needs {}", repository.forge.rights())))?;
        Ok(Forge { repository, token })
    }

    /// Opens it, or finds the one that is open; returns its page.
    pub(super) fn open(&self, pull: &NewPull) -> Result<String, Complaint> {
        http::install_cryptography();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let call = forges::request_pull(&self.repository, pull);
        let outside = Clients::default();
        let opened = runtime.block_on(talk(call, self.repository.forge, &self.token, None, &outside));
        opened.map(|pull| pull.url).map_err(refused)
    }
}
