//! What went wrong, as sentences with the mend.

/// Why the command line could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Complaint {
    /// There is no such Canary.
    #[error("no canary {name} in namespace {namespace}; {}", known(.name, .others))]
    NoSuchCanary {
        /// The name asked for.
        name: String,
        /// Where.
        namespace: String,
        /// Those that are there; `None` when they may not be listed.
        others: Option<Vec<String>>,
    },
    /// The kind is not installed.
    #[error(
        "the cluster does not know canaries: install the definitions with `serin crds | kubectl apply --server-side -f -`"
    )]
    NoDefinitions,
    /// The API server refuses.
    #[error("{doing}: not allowed ({message}); ask for that right, or try `--context` and `--namespace`")]
    Forbidden {
        /// What was being tried.
        doing: String,
        /// The API server's words.
        message: String,
    },
    /// The API server does not know who is asking.
    #[error("{doing}: the cluster does not accept the credentials of the kubeconfig ({message}); log in again")]
    Unauthorized {
        /// What was being tried.
        doing: String,
        /// The API server's words.
        message: String,
    },
    /// Anything else the client reports.
    #[error("{doing}: {}", chain(.source.as_ref()))]
    Api {
        /// What was being tried.
        doing: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kubeconfig is missing or broken.
    #[error(
        "reading the kubeconfig: {reason}; name one with --kubeconfig or $KUBECONFIG, and a context with --context"
    )]
    Kubeconfig {
        /// Why.
        reason: String,
    },
    /// The command cannot be carried out in the present state.
    #[error("{0}")]
    Refused(String),
    /// The controller did not answer.
    #[error(
        "the controller has not taken {command} within {seconds} s; the command stands on the canary and is taken once a \
         controller of Serin watches namespace {namespace}. Look at its log (`kubectl logs -A -l \
         app.kubernetes.io/name=serin --tail=50`) and at `serin get {name} -n {namespace}`"
    )]
    NotTaken {
        /// What was asked.
        command: &'static str,
        /// How long was waited.
        seconds: u64,
        /// The Canary.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The output could not be written.
    #[error("writing the output: {0}")]
    Output(#[from] std::io::Error),
    /// The output could not be rendered.
    #[error("rendering the output: {0}")]
    Render(String),
}

impl Complaint {
    /// Turns what the client reports into a sentence.
    pub fn of_api(doing: impl Into<String>, error: kube::Error) -> Self {
        let doing = doing.into();
        let answer =
            if let kube::Error::Api(status) = &error { Some((status.code, status.message.clone())) } else { None };
        match answer {
            Some((403, message)) => Complaint::Forbidden { doing, message },
            Some((401, message)) => Complaint::Unauthorized { doing, message },
            Some((404, message)) if message.contains("page not found") => Complaint::NoDefinitions,
            Some(_) | None => Complaint::Api { doing, source: Box::new(error) },
        }
    }
}

/// True when the API server said that there is no such object, or no such kind.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The canaries that there are; of many, those whose names are most like the one asked for.
fn known(name: &str, others: &Option<Vec<String>>) -> String {
    const SHOWN: usize = 8;
    match others.as_deref() {
        None => "what there is may not be listed".to_owned(),
        Some([]) => "there are none in it: try another with -n, or see all with `serin get -A`".to_owned(),
        Some(names) => {
            let mut near: Vec<&str> = names.iter().map(String::as_str).collect();
            near.sort_by_key(|other| edits(name, other));
            let more = near.len().saturating_sub(SHOWN);
            near.truncate(SHOWN);
            let rest = if more > 0 { format!(" and {more} more, see `serin get`") } else { String::new() };
            format!("there is: {}{rest}", near.join(", "))
        }
    }
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.bytes().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, wanted) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// The error and its causes; a cause that the text before it already tells is left out.
fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> kube::Error {
        let mut status = kube::core::Status::failure(message, "");
        status.code = code;
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn complaints_are_sentences_with_the_mend() {
        let unknown = |others| Complaint::NoSuchCanary { name: "podinf".into(), namespace: "shop".into(), others };
        for (complaint, words) in [
            (
                unknown(Some(vec!["cart".into(), "podinfo".into()])),
                "no canary podinf in namespace shop; there is: podinfo, cart",
            ),
            (
                unknown(Some((0..300).map(|index| format!("app-{index}")).chain(["podinfo".into()]).collect())),
                "no canary podinf in namespace shop; there is: podinfo, app-0, app-1, app-2, app-3, app-4, app-5, app-6 \
                 and 293 more, see `serin get`",
            ),
            (
                unknown(Some(Vec::new())),
                "no canary podinf in namespace shop; there are none in it: try another with -n, or see all with `serin \
                 get -A`",
            ),
            (
                Complaint::of_api("listing canaries in shop", status(403, "user mia cannot list")),
                "listing canaries in shop: not allowed (user mia cannot list); ask for that right, or try `--context` \
                 and `--namespace`",
            ),
            (
                Complaint::of_api("listing canaries", status(404, "404 page not found")),
                "the cluster does not know canaries: install the definitions with `serin crds | kubectl apply \
                 --server-side -f -`",
            ),
        ] {
            assert_eq!(complaint.to_string(), words);
        }
    }
}
