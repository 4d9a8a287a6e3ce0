//! The Kubernetes API of Serin: types only, no behaviour.
//!
//! `Canary`, `MetricTemplate` and `AlertProvider` of `flagger.app/v1beta1` are field for field those of Flagger;
//! fields that only Serin knows are optional and say so. Kinds of Serin's own are in `serin.dev/v1alpha1`.

mod alert_provider;
mod canary;
mod canary_run;
mod canary_template;
mod git;
mod git_source;
mod judge;
mod metric_template;
mod number;
mod publish;
mod schema;
mod service;
mod source;
mod status;

pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use alert_provider::*;
pub use canary::*;
pub use canary_run::*;
pub use canary_template::*;
pub use git::*;
pub use git_source::*;
pub use judge::*;
pub use metric_template::*;
pub use publish::{PublishedFile, all_crds, definitions, published_files, written_definitions};
pub use service::*;
pub use source::*;
pub use status::*;
